import json
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.evaluation import evaluate
from phototrace.evidence.intervals import Figure
from phototrace.evidence.kinds import compare_any, evaluate_any
from phototrace.evidence.numbers import errors_of, evaluate_numbers, too_few
from phototrace.evidence.predictions import NumberPredictions, Predictions

MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]


def by_hand(table: NumberPredictions, label: list[float], value: list[float]) -> NumberPredictions:
    """As many rows of a table, with these true values and answers; editing is left out."""
    some = table.select(np.arange(len(table)) < len(label))
    return replace(
        some,
        label=np.array(label, np.float32),
        value=np.array(value, np.float32),
        editing=np.full(len(label), ""),
    )


def test_four_patches_by_hand(made_up_numbers: MakeUpNumbers) -> None:
    table = by_hand(made_up_numbers(), [50, 60, 70, 95], [51, 58, 70, 86])
    result = evaluate_numbers(table, resamples=100)
    assert result.error.value == pytest.approx((1 + 2 + 0 + 9) / 4)
    assert result.bias.value == pytest.approx((1 - 2 + 0 - 9) / 4)
    assert result.median_error == pytest.approx(1.5)
    assert (result.middle, result.middle_error) == pytest.approx((72.5, 60 / 4))
    # Of a range of 45: 2 % are 0.9, 5 % are 2.25, 10 % are 4.5.
    assert [one.tolerance for one in result.within] == pytest.approx([0.9, 2.25, 4.5])
    assert [one.share.value for one in result.within] == [0.25, 0.75, 0.75]
    assert result.photo_error is None
    (photo,) = result.by_photo
    assert photo.patches == 4
    assert (photo.error, photo.bias) == pytest.approx((3, -2.5))


def test_the_means_are_what_counting_gives(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    off = [float(v) - float(t) for v, t in zip(table.value, table.label, strict=True)]
    result = evaluate_numbers(table, resamples=100)
    assert result.error.value == pytest.approx(statistics.mean(map(abs, off)))
    assert result.bias.value == pytest.approx(statistics.mean(off))
    assert result.median_error == pytest.approx(statistics.median(map(abs, off)))
    assert result.error.low < result.error.value < result.error.high
    assert result.bias.low < result.bias.value < result.bias.high
    assert (result.error.patches, result.error.photos) == (576, 24)
    assert [i.by for i in result.error.intervals] == ["photo", "device", "scene"]


def test_bins_are_tenths_of_the_range_by_true_value(made_up_numbers: MakeUpNumbers) -> None:
    table = by_hand(made_up_numbers(), [50, 54.4, 54.5, 95, 72.5], [52, 50, 60, 90, 72.5])
    bins = evaluate_numbers(table, resamples=100).by_bin
    assert [one.low for one in bins] == pytest.approx([50 + 4.5 * i for i in range(10)])
    assert [one.high for one in bins] == pytest.approx([54.5 + 4.5 * i for i in range(10)])
    assert [one.error.patches if one.error else 0 for one in bins] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    first = bins[0]
    assert first.error is not None
    assert first.error.value == pytest.approx((2 + 4.4) / 2, rel=1e-5)
    assert first.bias == pytest.approx((2 - 4.4) / 2, rel=1e-5)
    assert first.spread == pytest.approx((2 + 4.4) / 2, rel=1e-5)
    assert first.answers == pytest.approx((50.2, 51, 51.8))
    assert first.true_median == pytest.approx(52.2)
    assert (bins[2].error, bins[2].bias, bins[2].answers) == (None, None, None)


def test_photo_decisions_are_the_median_of_alike_patches(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers(patches=6)
    groups = defaultdict(list)
    for row in range(len(table)):
        key = (table.photo[row], float(table.label[row]), table.editing[row])
        groups[key].append(float(table.value[row]))
    off = [abs(statistics.median(said) - true) for (_, true, _), said in groups.items()]
    result = evaluate_numbers(table, resamples=100)
    assert result.decisions == len(groups) == 24 * 6 * 2
    assert result.photo_error is not None
    assert result.photo_error.value == pytest.approx(statistics.mean(off), rel=1e-5)
    assert result.photo_error.value < result.error.value
    assert result.photo_error.patches == len(table)


def test_parts_of_the_test_set(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(table, resamples=100)
    found = {(stratum.what, stratum.value): stratum for stratum in result.strata}
    masks = {
        ("editing", "block"): table.editing == "block",
        ("editing", "region"): table.editing == "region",
        ("device", "seen in training"): table.seen_device,
        ("device", "never seen"): ~table.seen_device,
        ("scene", "seen in training"): table.seen_scene,
        ("scene", "never seen"): ~table.seen_scene,
    }
    assert found.keys() == masks.keys()
    for key, mask in masks.items():
        alone = evaluate_numbers(table.select(mask), resamples=100)
        assert found[key].error == alone.error
        assert found[key].photo_error == alone.photo_error
        assert found[key].bias == pytest.approx(alone.bias.value)


def test_devices_scenes_and_photos(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(table, resamples=100)
    assert len(result.by_device) == 12
    for group in result.by_device:
        chosen = table.select(table.device == group.name)
        assert group.error == evaluate_numbers(chosen, resamples=100).error
        assert group.seen is bool(chosen.seen_device[0])
    assert [group.name for group in result.by_scene] == sorted({*table.scene.tolist()})
    errors = [photo.error for photo in result.by_photo]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == 24
    worst = result.by_photo[0]
    rows = table.select(table.photo == worst.photo)
    assert worst.error == pytest.approx(float(np.mean(np.abs(rows.value - rows.label))), rel=1e-5)
    assert (worst.device, worst.scene) == (rows.device[0], rows.scene[0])


def test_the_unit_does_not_matter(made_up_numbers: MakeUpNumbers) -> None:
    """The same errors on a range ten times as wide: every figure is ten times as large."""
    table = made_up_numbers()
    wide = replace(table, label=10 * table.label, value=10 * table.value, range=(500, 950))
    one, ten = (evaluate_numbers(t, resamples=100) for t in (table, wide))

    def figures(figure: Figure, times: float) -> list[float]:
        ends = [(i.low, i.high) for i in figure.intervals]
        return [times * number for pair in [(figure.value, 0), *ends] for number in pair]

    assert figures(ten.error, 1) == pytest.approx(figures(one.error, 10), rel=1e-4)
    assert figures(ten.bias, 1) == pytest.approx(figures(one.bias, 10), rel=1e-4)
    assert [w.share.value for w in ten.within] == [w.share.value for w in one.within]


def test_the_interval_holds_the_truth_in_most_tests(made_up_numbers: MakeUpNumbers) -> None:
    truth = evaluate_numbers(made_up_numbers(4000, devices=4000, seed=99), resamples=100)
    held = 0
    for seed in range(60):
        # Each photo a device of its own, so that photos are what varies.
        table = made_up_numbers(40, devices=40, seed=seed)
        over_photos = evaluate_numbers(table, resamples=300).error.intervals[0]
        held += over_photos.low <= truth.error.value <= over_photos.high
    assert held >= 53


def test_answers_far_outside_the_range_count_as_given(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers(40)
    value = np.array(table.value)
    value[0] = 5000
    result = evaluate_numbers(replace(table, value=value), resamples=100)
    assert result.error.value > 5000 / len(table)
    assert errors_of(replace(table, value=value), 0, 100).scale == pytest.approx(5000 - 50)
    assert "lay outside the range; they count as given" in " ".join(result.notes)
    largest = replace(table, value=np.full(len(table), np.finfo(np.float32).max))
    assert np.isfinite(evaluate_numbers(largest, resamples=100).error.high)


def test_a_run_that_is_never_off_is_not_certain(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(replace(table, value=table.label), resamples=100)
    assert (result.error.value, result.error.low) == (0, 0)
    over_photos = result.error.intervals[0]
    # 45 times the bound that 24 photos without an error give.
    assert over_photos.high == pytest.approx(45 * (1 - 0.025 ** (1 / 24)))
    assert not too_few(over_photos)


def test_of_few_photos_the_interval_is_said_to_be_too_few(made_up_numbers: MakeUpNumbers) -> None:
    few, more = (evaluate_numbers(made_up_numbers(n), resamples=100) for n in (5, 6))
    assert too_few(few.error.intervals[0])
    assert not too_few(more.error.intervals[0])


def test_the_result_is_json_without_nan(made_up_numbers: MakeUpNumbers) -> None:
    result = evaluate_numbers(made_up_numbers(6), resamples=100)
    read = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (read["format"], read["version"]) == ("number evaluation", 1)
    assert (read["unit"], read["range"]) == ("strength steps", [50, 95])
    assert read["error"]["low"] == result.error.low
    assert read["by_bin"][1]["error"] is None
    assert read["predictions_hash"] == made_up_numbers(6).hash


def test_the_same_seed_gives_the_same_result(made_up_numbers: MakeUpNumbers) -> None:
    one, two = (evaluate_numbers(made_up_numbers(), resamples=200).to_dict() for _ in range(2))
    assert one == two
    other = evaluate_numbers(made_up_numbers(), seed=1, resamples=200)
    assert other.to_dict()["error"]["intervals"] != one["error"]["intervals"]


def test_notes_say_what_the_test_cannot_show(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers(spread=0)
    notes = evaluate_numbers(table, resamples=100).notes
    assert notes == ("4 of 10 equal parts of the range had no test patch.",)
    scene = np.where(table.photo == table.photo[0], "", table.scene)
    every = np.ones(len(table), bool)
    middle = np.full(len(table), 72.5, np.float32)
    table = replace(table, seen_device=every, scene=scene, value=middle)
    notes = evaluate_numbers(table, resamples=100).notes
    assert "Training had photos of every device tested here" in notes[0]
    assert notes[1] == (
        "Not clearly better than always predicting 72.5, the middle of the range, whose mean error"
        " is 13.5 strength steps."
    )
    assert "The scene of 1 photo is unknown" in notes[-1]


def test_nothing_to_evaluate_is_said(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    with pytest.raises(UsageError, match="no patches"):
        evaluate_numbers(table.select(np.zeros(len(table), bool)))
    with pytest.raises(UsageError, match="at least 100"):
        evaluate_numbers(table, resamples=10)


def test_the_kind_of_predictions_decides(made_up: MakeUp, made_up_numbers: MakeUpNumbers) -> None:
    classes, numbers = made_up(6), made_up_numbers(6)
    assert evaluate_any(classes, resamples=100) == evaluate(classes, resamples=100)
    assert evaluate_any(numbers, resamples=100) == evaluate_numbers(numbers, resamples=100)
    assert evaluate_any(numbers, seed=1, resamples=100).seed == 1
    pair = compare_any(numbers, replace(numbers, run="other"))
    assert pair is not None
    assert pair.to_dict()["format"] == "number comparison"
    same = compare_any(classes, replace(classes, run="other"))
    assert same is not None
    assert same.to_dict()["format"] == "comparison"
    for other in (
        classes,
        replace(classes, task=numbers.task),
        replace(numbers, task="another"),
        replace(numbers, unit="degrees"),
        replace(numbers, range=(0, 100)),
    ):
        assert compare_any(numbers, other) is None
    assert compare_any(classes, replace(classes, classes=classes.classes[::-1])) is None
