import math
import time

import pytest

from phototrace import progress as module
from phototrace.progress import parallel_map, progress


def test_results_come_in_the_order_of_the_items() -> None:
    numbers = [n % 7 for n in range(50)]
    assert list(parallel_map(math.factorial, numbers, "All")) == [
        math.factorial(n) for n in numbers
    ]
    assert list(parallel_map(math.factorial, [3], "One")) == [6]
    assert list(parallel_map(math.factorial, [], "None")) == []


def test_lines_tell_how_far_how_good_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    items = progress(iter("abc"), 5, "Letters", done=2, status=lambda: "fine")
    for _ in items:
        time.sleep(0.01)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Letters: 3 of 5, fine, 0:00:00 left"
    assert lines[-1].startswith("Letters: 5 of 5")


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(1000), 1000, "Short")) == list(range(1000))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
