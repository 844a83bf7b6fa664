"""Tables in pages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import evaluate
from phototrace.evidence.formatting import wide
from phototrace.evidence.markdown import (
    FIGURE_HEAD,
    figure_row,
    figure_table,
    fill_page,
    filled,
    percent_and_interval,
    points_and_interval,
    table,
)
from phototrace.evidence.predictions import Predictions

MakeUp = Callable[..., Predictions]

PAGE = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n"


def test_a_table_has_a_rule_under_its_head() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_each_table_goes_between_its_own_marks(tmp_path: Path) -> None:
    wanted = PAGE.replace("old", "| new |\n| --- |")
    assert filled(PAGE, {"one": "| new |\n| --- |"}) == wanted
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    fill_page(path, {"one": "| new |\n| --- |", "three": "nowhere"})
    assert path.read_text() == wanted


def test_a_figure_stands_with_its_interval_and_its_numbers(made_up: MakeUp) -> None:
    figure = evaluate(made_up()).accuracy
    row = figure_row("all", figure)
    assert len(row) == 2 + len(FIGURE_HEAD)
    assert row[4:] == tuple(
        str(n) for n in (figure.patches, figure.photos, figure.devices, figure.scenes)
    )
    text = percent_and_interval(figure)
    assert float(text.split()[0]) == pytest.approx(100 * figure.value, abs=0.05)
    assert float(text.split("(")[1].split()[0]) == pytest.approx(100 * figure.interval.low, abs=0.1)


def test_below_a_table_stands_what_its_wide_intervals_mean(made_up: MakeUp) -> None:
    few, many = (evaluate(made_up(count, devices=3)).accuracy for count in (3, 60))
    head = ("", "right, %", *FIGURE_HEAD)
    rows = table(head, [figure_row("few", few), figure_row("many", many)])
    assert wide(many) == ""
    assert figure_table(head, [("few", few), ("many", many)]) == f"{rows}\n\n- few: {wide(few)}"
    assert figure_table(head, [("many", many)]) == table(head, [figure_row("many", many)])


def test_a_difference_stands_with_its_sign(made_up: MakeUp) -> None:
    better = compare(made_up(run="a", skill=2.5), made_up(run="b", skill=1.0))
    assert points_and_interval(better).startswith("+")
