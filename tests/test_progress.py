import io
import math
import sys
import time

import pytest

from phototrace import progress as module
from phototrace.progress import on_stderr, parallel_map, progress, say


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
    with on_stderr():
        for _ in items:
            time.sleep(0.01)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Letters: 3 of 5, fine, 0:00:00 left"
    assert lines[-1].startswith("Letters: 5 of 5")


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with on_stderr():
        assert list(progress(range(1000), 1000, "Short")) == list(range(1000))
    assert capsys.readouterr() == ("", "")


def test_nothing_is_printed_unless_asked_for(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "_LINE_SECONDS", -1.0)
    with on_stderr():
        with on_stderr():
            pass
        say("shown once")
    say("only in the log")
    assert list(progress(iter("ab"), 2, "Letters")) == ["a", "b"]
    assert capsys.readouterr() == ("", "shown once\n")
    assert caplog.messages[:2] == ["shown once", "only in the log"]
    assert caplog.messages[2].startswith("Letters: 1 of 2")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BAR_AFTER_SECONDS", -1.0)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    list(progress(iter("ab"), 2, "Letters"))
    assert terminal.getvalue() == ""
    with on_stderr():
        list(progress(iter("ab"), 2, "Letters"))
    assert "Letters" in terminal.getvalue()
