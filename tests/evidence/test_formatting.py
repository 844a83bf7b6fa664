import pytest

from phototrace.evidence.formatting import percent, points, shown
from phototrace.evidence.intervals import counted


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100"), (0.0, "0"), (0.99996, ">99.9"), (0.0003, "<0.1"), (0.973, "97.3")],
)
def test_percent_says_100_only_where_it_is(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.022, "+2.2"), (-0.022, "\u22122.2"), (0.0, "0.0"), (-0.0001, "0.0")],
)
def test_points_have_a_sign(difference: float, text: str) -> None:
    assert points(difference) == text


def test_shown_drops_what_would_mislead_and_is_not_endless() -> None:
    assert shown("photo\u202egpj.exe\n\x00") == "photo\ufffdgpj.exe\ufffd\ufffd"
    assert shown("x" * 100, 10) == "x" * 9 + "\u2026"
    assert shown("Fotos 写真 e\u0301 \U0001f4f7") == "Fotos 写真 e\u0301 \U0001f4f7"


def test_counted_has_a_plural() -> None:
    assert (counted(1, "photo"), counted(1200, "photo")) == ("1 photo", "1,200 photos")
