from collections.abc import Callable
from dataclasses import replace

import pytest

from phototrace.evidence.evaluation import evaluate
from phototrace.evidence.formatting import (
    condition_lines,
    ends,
    headline,
    number,
    percent,
    points,
    shown,
    signed_number,
    wide,
)
from phototrace.evidence.intervals import Figure, Interval, counted
from phototrace.evidence.numbers import evaluate_numbers
from phototrace.evidence.predictions import NumberPredictions, Predictions


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


@pytest.mark.parametrize(
    ("value", "low", "high", "clusters", "said"),
    [
        (1.0, 0.67, 1.0, 21,
         "No error occurred in 21 devices, but so few cannot rule out that in other devices up to "
         "33.0 % are wrong."),
        (0.997, 0.67, 1.0, 21,
         "Errors occurred in too few of 21 devices to tell how common they are: so few cannot rule "
         "out that in other devices up to 33.0 % are wrong."),
        (0.0, 0.0, 0.13, 36,
         "Nothing was correct in 36 devices, but so few cannot rule out that in other devices up "
         "to 13.0 % are correct."),
        (0.02, 0.001, 0.13, 36,
         "Correct results occurred in too few of 36 devices to tell how common they are: so few "
         "cannot rule out that in other devices up to 13.0 % are correct."),
        (0.75, 0.006, 0.999, 1,
         "Tested on 1 device only: so few cannot rule out that in other devices 0.6 or 99.9 % are "
         "correct."),
        (0.95, 0.3, 0.999, 3,
         "Tested on 3 devices only: so few cannot rule out that in other devices 30.0 or 99.9 % "
         "are correct."),
        (0.98, 0.89, 0.99, 21, ""),
    ],
)  # fmt: skip
def test_a_wide_interval_of_rare_errors_is_put_in_words(
    value: float, low: float, high: float, clusters: int, said: str
) -> None:
    assert wide(quoted(value, low, high, clusters, "exact, devices as trials")) == said


def test_a_wide_interval_is_put_in_words_where_clusters_are_few() -> None:
    method = "bootstrap over devices"
    few, enough = (quoted(0.9, 0.6, 0.97, count, method) for count in (19, 20))
    assert wide(few).startswith("Tested on 19 devices only")
    # That clusters differ is all that a bootstrap interval over many says: it needs no excuse.
    assert wide(enough) == ""


def quoted(value: float, low: float, high: float, clusters: int, method: str) -> Figure:
    """A figure with one interval."""
    interval = Interval("device", clusters, low, high, method, "")
    return Figure(value, 900, 100, clusters, 1, (interval,))


@pytest.mark.parametrize(
    ("value", "range", "text", "signed"),
    [
        (2.4792, (50, 95), "2.48", "+2.48"),
        (-2.4792, (50, 95), "\u22122.48", "\u22122.48"),
        (-0.001, (50, 95), "0.00", "0.00"),
        (0.0, (0, 1), "0.000", "0.000"),
        (0.12345, (0, 1), "0.123", "+0.123"),
        (1234.5, (0, 10_000), "1,234", "+1,234"),
        (0.000123456, (0, 0.001), "0.000123", "+0.000123"),
    ],
)
def test_numbers_are_as_fine_as_their_range_asks_for(
    value: float, range: tuple[float, float], text: str, signed: str
) -> None:
    assert number(value, range) == text
    assert signed_number(value, range) == signed


def test_the_headline_of_numbers(
    made_up: Callable[..., Predictions], made_up_numbers: Callable[..., NumberPredictions]
) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(replace(table, unit="steps\u202e"), resamples=100)
    error = result.error
    assert headline(result) == (
        f"The mean error is {error.value:.2f} steps\ufffd, in a range of 50 to 95"
        f" (95 % interval {error.low:.2f} to {error.high:.2f} over {error.interval.clusters}"
        f" {error.interval.by}s; 24 test photos from 12 devices and 11 scenes)."
    )
    assert ends((-1.5, 2)) == "\u22121.5 to 2"
    first = result.strata[0].error
    assert condition_lines(result)[0] == (
        f"editing block: {first.value:.2f} ({first.low:.2f} to {first.high:.2f}, 24 photos)"
    )
    shares = evaluate(made_up(), resamples=100)
    share = shares.strata[0].accuracy
    assert condition_lines(shares)[0] == (
        f"editing block: {share.value:.1%} ({share.low:.1%} to {share.high:.1%}, 24 photos)"
    )


def test_the_headline_has_the_balanced_accuracy_where_classes_count_unequally(
    made_up: Callable[..., Predictions],
) -> None:
    table = made_up()
    assert "balanced" not in headline(evaluate(table, resamples=100))
    fewer = evaluate(table.select((table.label > 0) | (table.row % 3 == 0)), resamples=100)
    text = f"The balanced accuracy is {percent(fewer.balanced_accuracy.value)} % ("
    assert text in headline(fewer)
