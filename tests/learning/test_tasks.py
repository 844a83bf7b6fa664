"""A task's loss, score, answer and figure, worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phototrace.errors import DamagedError, UsageError
from phototrace.learning.tasks import TASKS, Task, known_task
from phototrace.patches.manipulations import MANIPULATIONS, QualityEdits
from phototrace.photos.manifest import PhotoRecord

THREE = Task("which", ("a", "b", "c"))
QUALITY = Task("quality", range=(50.0, 90.0), unit="quality steps")
# Of four patches: probabilities of 1/4, 1/4 and 1/2, and so on.
SCORES = torch.log(torch.tensor([[1.0, 1, 2], [3, 1, 1], [1, 8, 1], [6, 2, 2]]))
LABELS = torch.tensor([2, 0, 0, 0])


def photo(camera: str, **extra: str) -> PhotoRecord:
    return PhotoRecord("0" * 16, "a.jpg", "0" * 64, "Make", camera, extra=extra)


def test_classes_are_told_by_cross_entropy() -> None:
    chances = [2 / 4, 3 / 5, 1 / 10, 6 / 10]
    assert float(THREE.loss(SCORES, LABELS)) == pytest.approx(-np.log(chances).mean())
    assert int(THREE.score(SCORES, LABELS)) == 3
    expected = [[0.25, 0.25, 0.5], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]]
    answer = THREE.answer(SCORES)
    np.testing.assert_allclose(answer, expected, atol=1e-6)
    assert answer.dtype == np.float32


def test_the_figure_of_classes_is_balanced_accuracy() -> None:
    """Three in four are right; two thirds of class 0 and all of class 2."""
    assert THREE.figure(THREE.answer(SCORES), LABELS.numpy()) == pytest.approx((2 / 3 + 1) / 2)
    assert (THREE.metric, THREE.outputs) == ("accuracy", 3)
    assert THREE.spelled(0.9751) == "97.5%"


def test_a_number_is_told_by_the_smooth_absolute_error() -> None:
    """Scores are shares of half the range, 20, from its middle, 70; the square ends at 0.1."""
    scores, labels = torch.tensor([[0.5], [-0.5], [0.3]]), torch.tensor([85.0, 60.0, 75.0])
    off = np.array([0.5 - 0.75, 0.0, 0.3 - 0.25])
    expected = [abs(off[0]) - 0.05, 0, 0.5 * off[2] ** 2 / 0.1]
    assert float(QUALITY.loss(scores, labels)) == pytest.approx(np.mean(expected))
    assert float(QUALITY.score(scores, labels)) == pytest.approx(5 + 0 + 1)
    answer = QUALITY.answer(scores)
    np.testing.assert_allclose(answer, [80, 60, 76])
    assert answer.dtype == np.float32
    assert QUALITY.figure(answer, labels.numpy()) == pytest.approx(2)
    assert (QUALITY.metric, QUALITY.outputs) == ("error", 1)
    assert QUALITY.spelled(3.24) == "3.2 quality steps"


def test_a_number_stays_in_the_range() -> None:
    far = torch.tensor([[-7.0], [7.0]])
    np.testing.assert_array_equal(QUALITY.answer(far), [50, 90])
    assert float(QUALITY.score(far, torch.tensor([50.0, 80.0]))) == 10


@pytest.mark.parametrize("task", [THREE, QUALITY])
def test_half_precision_scores_count_in_float32(task: Task) -> None:
    scores = torch.linspace(-1, 1, 3 * 40).reshape(40, 3)[:, : task.outputs]
    labels = torch.zeros(40, dtype=torch.int64) if task.classes else torch.full((40,), 61.0)
    rounded = scores.bfloat16()
    loss = task.loss(rounded, labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(task.loss(rounded.float(), labels)))
    assert task.loss(scores.double(), labels).dtype == torch.float64
    np.testing.assert_array_equal(task.answer(rounded), task.answer(rounded.float()))
    assert float(task.score(rounded, labels)) == float(task.score(rounded.float(), labels))


def test_a_row_of_metrics_in_words() -> None:
    row: dict[str, Any] = {"leg": "x", "validation_accuracy": 0.5, "validation_error": 1.25}
    assert THREE.of_row(row) == "x accuracy 50.0%"
    assert QUALITY.of_row(row) == "x error 1.2 quality steps"
    assert THREE.of_row({"leg": "x"}) == "x accuracy not measured"


def test_the_tasks_that_recipes_can_name() -> None:
    assert list(TASKS) == [
        "manipulation", "camera", "make", "edit", "recompressed", "jpeg-quality",
    ]  # fmt: skip
    assert TASKS["manipulation"].classes == tuple(MANIPULATIONS)
    assert (TASKS["camera"].classes, TASKS["camera"].column) == ((), "camera")
    assert TASKS["jpeg-quality"].range == (50, 95)
    assert TASKS["jpeg-quality"].edits == QualityEdits(50, 95, versions=2)
    assert known_task("camera") == "camera"
    with pytest.raises(ValueError, match="Did you mean 'camera'"):
        known_task("camrea")


def test_classes_come_from_the_photos_or_from_what_is_wanted() -> None:
    photos = [photo("C"), photo("A"), photo("B"), photo("A")]
    cameras = TASKS["camera"]
    assert cameras.among(photos).classes == ("Make A", "Make B", "Make C")
    assert cameras.among(photos, ["Make C", "Make A"]).classes == ("Make C", "Make A")
    with pytest.raises(UsageError, match=r"no class 'Make D'.*: Make A, Make B, Make C\."):
        cameras.among(photos, ["Make A", "Make D"])
    for few in (photos[:1], []):
        with pytest.raises(UsageError, match="fewer than two classes"):
            cameras.among(few)
    with pytest.raises(UsageError, match="fewer than two classes"):
        cameras.among(photos, ["Make A"])


def test_photos_without_an_entry_make_no_class() -> None:
    of_hour = Task("hour", column="hour")
    photos = [photo("A", hour=hour) for hour in ("day", "", "night")]
    assert of_hour.among(photos).classes == ("day", "night")


def test_named_edits_need_no_photos_and_a_range_has_no_classes() -> None:
    assert TASKS["manipulation"].among([]).classes == tuple(MANIPULATIONS)
    two = ("white noise", "unaltered")
    assert TASKS["manipulation"].among([], two).classes == two
    assert TASKS["jpeg-quality"].among([]) == TASKS["jpeg-quality"]
    with pytest.raises(UsageError, match="has a range, no classes"):
        TASKS["jpeg-quality"].among([], ["50"])


@pytest.mark.parametrize(
    "task",
    [THREE, QUALITY, replace(TASKS["camera"], classes=("A", "B")), TASKS["manipulation"],
     TASKS["jpeg-quality"]],
    ids=lambda task: task.name,
)  # fmt: skip
def test_facts_give_the_task_again(task: Task) -> None:
    assert Task.of_facts(task.facts(), "there") == task


def test_a_task_of_another_name_knows_its_answers_alone() -> None:
    """What gives patches their label is not saved: it may be code."""
    saved = replace(TASKS["camera"], name="maker", classes=("A", "B")).facts()
    assert saved == {"task": "maker", "classes": ["A", "B"], "range": None, "unit": ""}
    assert Task.of_facts(saved, "there") == Task("maker", ("A", "B"))


GOOD = {"task": "x", "classes": ["a", "b"], "range": None, "unit": ""}
BAD: dict[str, dict[str, Any]] = {
    "one class": {"classes": ["a"]},
    "no class": {"classes": []},
    "a class twice": {"classes": ["a", "b", "a"]},
    "a class that is a number": {"classes": ["a", 1]},
    "a class that is a list": {"classes": ["a", ["b"]]},
    "classes that are null": {"classes": None},
    "classes in one word": {"classes": "ab"},
    "a name that is a list": {"task": ["x"]},
    "a unit that is a number": {"unit": 1},
    "classes and a range": {"range": [0, 1]},
    "a range of one number": {"classes": [], "range": [1]},
    "a range of three": {"classes": [], "range": [1, 2, 3]},
    "an empty range": {"classes": [], "range": [2, 2]},
    "a range backwards": {"classes": [], "range": [2, 1]},
    "a range without end": {"classes": [], "range": [0, float("inf")]},
    "a range beyond all numbers": {"classes": [], "range": [0, 10**400]},
    "a range of nothing": {"classes": [], "range": [float("nan"), 1]},
    "a range in words": {"classes": [], "range": ["low", "high"]},
    "a range that is a number": {"classes": [], "range": 5},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_facts_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    assert Task.of_facts(GOOD, "there").outputs == 2
    with pytest.raises(DamagedError, match=r"there describes a task that makes no sense"):
        Task.of_facts({**GOOD, **change}, "there")


@pytest.mark.parametrize("key", GOOD)
def test_facts_that_lack_something_are_refused(key: str) -> None:
    with pytest.raises(DamagedError, match="makes no sense"):
        Task.of_facts({k: v for k, v in GOOD.items() if k != key}, str(Path("there")))
