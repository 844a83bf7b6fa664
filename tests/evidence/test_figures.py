import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.comparison import compare
from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.figures import (
    confusion_figure,
    devices_figure,
    differences_figure,
    photos_figure,
    training_figure,
)
from phototrace.evidence.predictions import Predictions

MakeUp = Callable[..., Predictions]
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
