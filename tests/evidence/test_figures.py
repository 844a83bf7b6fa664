import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.comparison import compare, compare_numbers
from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.figures import (
    answers_figure,
    confusion_figure,
    device_errors_figure,
    devices_figure,
    differences_figure,
    photos_figure,
    training_figure,
)
from phototrace.evidence.numbers import evaluate_numbers
from phototrace.evidence.predictions import NumberPredictions, Predictions

MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]
HOSTILE = '</text><script>&$x^2$\\frac{"'
METRICS: list[dict[str, object]] = [
    {"epoch": 1, "step": 10, "loss": 1.8, "accuracy": 0.3},
    {"epoch": 2, "step": 20, "loss": 0.9, "accuracy": 0.6, "validation_accuracy": 0.55},
    {"epoch": 3, "step": 30, "loss": float("nan"), "validation_accuracy": None},
    {"epoch": 4, "step": 40, "loss": 0.5, "accuracy": 0.8, "validation_accuracy": 0.7},
]


def texts(svg: bytes) -> list[str]:
    root = ET.fromstring(svg)
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def result(made_up: MakeUp) -> Evaluation:
    return evaluate(made_up(skill=2.0), resamples=100)


def hostile(table: Predictions) -> Predictions:
    devices = np.where(table.device == table.device[0], HOSTILE, table.device)
    return replace(table, classes=(HOSTILE, *table.classes[1:]), device=devices, run=HOSTILE)


def test_the_confusion_matrix_shows_shares_of_each_true_class(result: Evaluation) -> None:
    drawn = texts(confusion_figure(result))
    assert [name for name in result.classes if drawn.count(name) == 2] == list(result.classes)
    diagonal = f"{100 * (result.confusion_shares[1][1] or 0):.1f}"
    assert diagonal in drawn


def test_thirty_classes_are_drawn_without_figures_in_the_cells(made_up: MakeUp) -> None:
    names = tuple(f"Maker Model {number}" for number in range(30))
    drawn = texts(confusion_figure(evaluate(made_up(4, classes=names), resamples=100)))
    assert sorted(drawn) == sorted([*names, *names, "predicted class", "true class"])


def test_photos_are_counted_by_their_share(made_up: MakeUp) -> None:
    perfect = evaluate(made_up(skill=60), resamples=100)
    # The one bar's label; the axis' own numbers are multiples of five.
    assert texts(photos_figure(perfect)).count("24") == 1


def test_devices_stand_lowest_first(result: Evaluation) -> None:
    drawn = [text for text in texts(devices_figure(result)) if text.startswith("Canon")]
    ordered = sorted(result.by_device, key=lambda group: (group.accuracy.value, group.name))
    assert drawn == [group.name for group in ordered]


def test_of_many_devices_the_lowest_forty_are_drawn(made_up: MakeUp) -> None:
    many = evaluate(made_up(60, devices=60, patches=1), resamples=100)
    drawn = [text for text in texts(devices_figure(many)) if text.startswith("Canon")]
    ordered = sorted(many.by_device, key=lambda group: (group.accuracy.value, group.name))
    assert drawn == [group.name for group in ordered[:40]]


def test_training_leaves_out_what_is_missing() -> None:
    drawn = texts(training_figure(METRICS))
    assert {"epoch", "loss", "training", "validation part"} <= set(drawn)
    assert training_figure(METRICS) == training_figure([*METRICS[:2], METRICS[3]])
    lone = texts(training_figure([{"epoch": 1, "loss": 0.5}]))
    assert "training" not in lone


@pytest.mark.parametrize(
    "metrics", [[], [{"epoch": 1}], [{"loss": 1.0}], [{"epoch": 1, "loss": ""}]]
)
def test_training_without_anything_to_draw_is_refused(metrics: list[dict[str, object]]) -> None:
    with pytest.raises(UsageError, match="no loss"):
        training_figure(metrics)


def test_differences_name_both_runs(made_up: MakeUp) -> None:
    found = compare(made_up(run="first"), made_up(run="second", skill=1.5), resamples=100)
    drawn = texts(differences_figure(found))
    assert {"all patches, over photos", "all patches, over devices"} <= set(drawn)
    assert any("second better" in text and "first better" in text for text in drawn)


def test_names_are_drawn_as_plain_text(made_up: MakeUp) -> None:
    table = hostile(made_up())
    result = evaluate(table, resamples=100)
    found = compare(table, replace(table, run="other"), resamples=100)
    for svg in (confusion_figure(result), devices_figure(result), differences_figure(found)):
        assert b"<script" not in svg
        shown = [text for text in texts(svg) if "</text><script>" in text]
        assert shown
    assert HOSTILE in texts(devices_figure(result))


def test_the_same_result_gives_the_same_bytes(result: Evaluation) -> None:
    for draw in (confusion_figure, photos_figure, devices_figure):
        assert draw(result) == draw(result)


def test_png_is_drawn_too(result: Evaluation) -> None:
    assert devices_figure(result, "png").startswith(b"\x89PNG")


def test_pyplot_is_left_alone() -> None:
    code = (
        "import sys; from phototrace.evidence.figures import training_figure;"
        "assert 'matplotlib' not in sys.modules;"
        "training_figure([{'epoch': 1, 'loss': 1.0}]);"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def bars(svg: bytes) -> int:
    """How many of a figure's lines are intervals: collections of lines, one of them each."""
    root = ET.fromstring(svg)
    groups = root.iter("{http://www.w3.org/2000/svg}g")
    return sum(group.get("id", "").startswith("LineCollection") for group in groups)


def test_answers_are_drawn_where_the_range_was_tested(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(table, resamples=100)
    drawn = texts(answers_figure(result))
    assert {"true value, strength steps", "prediction, strength steps", "median prediction"} <= set(
        drawn
    )
    lone = evaluate_numbers(table.select(table.label == 50), resamples=100)
    for other in (lone, result):
        svg = answers_figure(other)
        root = ET.fromstring(svg)
        uses = list(root.iter("{http://www.w3.org/2000/svg}use"))
        assert bars(svg) >= 1
        tested = sum(one.error is not None for one in other.by_bin)
        # A point for each part of the range, one in the legend; the rest are ticks of the axes.
        circles = [use for use in uses if "stroke: #0072b2" in use.get("style", "")]
        assert len(circles) == tested + 1


def test_devices_stand_with_the_largest_error_on_top(made_up_numbers: MakeUpNumbers) -> None:
    result = evaluate_numbers(made_up_numbers(), resamples=100)
    drawn = [text for text in texts(device_errors_figure(result)) if text.startswith("Canon")]
    ordered = sorted(result.by_device, key=lambda group: (-group.error.value, group.name))
    assert drawn == [group.name for group in ordered]
    many = evaluate_numbers(made_up_numbers(60, devices=60, patches=1), resamples=100)
    assert texts(device_errors_figure(many)).count("Canon EOS 6D / 0") <= 1
    assert sum(text.startswith("Canon") for text in texts(device_errors_figure(many))) == 40


def test_intervals_of_too_few_photos_are_not_drawn(made_up_numbers: MakeUpNumbers) -> None:
    few = evaluate_numbers(made_up_numbers(10, devices=2), resamples=100)
    assert bars(device_errors_figure(few)) == 0
    more = evaluate_numbers(made_up_numbers(12, devices=2), resamples=100)
    assert bars(device_errors_figure(more)) == 2


def test_training_of_numbers_shows_errors() -> None:
    rows: list[dict[str, object]] = [
        {"epoch": 1, "loss": 1.0, "error": 9.0, "validation_error": 10.0},
        {"epoch": 2, "loss": 0.5, "error": 4.0, "validation_error": 5.0},
    ]
    drawn = texts(training_figure(rows))
    assert {"mean error", "training", "validation part"} <= set(drawn)
    assert "accuracy, % of patches" not in drawn


def test_units_and_devices_of_numbers_are_drawn_as_plain_text(
    made_up_numbers: MakeUpNumbers,
) -> None:
    table = made_up_numbers()
    devices = np.where(table.device == table.device[0], HOSTILE, table.device)
    table = replace(table, unit=HOSTILE, device=devices, run=HOSTILE)
    result = evaluate_numbers(table, resamples=100)
    pair = compare_numbers(table, replace(table, run="other"), resamples=100)
    for svg in (answers_figure(result), device_errors_figure(result), differences_figure(pair)):
        assert b"<script" not in svg
    assert {HOSTILE, f"mean error, {HOSTILE}"} <= set(texts(device_errors_figure(result)))
    assert {f"true value, {HOSTILE}", f"prediction, {HOSTILE}"} <= set(
        texts(answers_figure(result))
    )
    assert any(text.count("$x^2$") == 2 for text in texts(differences_figure(pair)))
    assert answers_figure(result) == answers_figure(result)
