import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.comparison import compare, excludes_zero
from phototrace.evidence.formatting import verdict
from phototrace.evidence.predictions import FLAGS, NUMBERS, TEXTS, Predictions

MakeUp = Callable[..., Predictions]


def taken(table: Predictions, rows: object) -> Predictions:
    names = (*TEXTS, *NUMBERS, *FLAGS, "probabilities")
    return replace(table, **{name: getattr(table, name)[rows] for name in names})


def test_patches_are_paired_whatever_their_order(made_up: MakeUp) -> None:
    a, b = made_up(run="a"), made_up(run="b", skill=1.5)
    order = np.random.default_rng(1).permutation(len(b))
    straight, shuffled = compare(a, b), compare(a, taken(b, order))
    right_a, right_b = a.predicted == a.label, b.predicted == b.label
    for found in (straight, shuffled):
        assert found.difference.value == pytest.approx(right_a.mean() - right_b.mean())
        assert found.a_right == np.sum(right_a & ~right_b)
        assert found.b_right == np.sum(~right_a & right_b)
        assert found.both_right == np.sum(right_a & right_b)
        assert found.both_wrong == np.sum(~right_a & ~right_b)
    assert straight.difference == shuffled.difference
    assert straight.by_device == shuffled.by_device


def test_pairing_uses_photo_place_editing_and_label(made_up: MakeUp) -> None:
    table = made_up(skill=1.0)
    both = np.concatenate([table.probabilities, table.probabilities[::-1]])
    table = taken(table, np.tile(np.arange(len(table)), 2))
    editing = np.repeat(["block", "region"], len(table) // 2)
    table = replace(table, editing=editing, probabilities=both)
    order = np.random.default_rng(2).permutation(len(table))
    found = compare(table, taken(table, order))
    assert found.matched == len(table)
    assert (found.a_right, found.b_right) == (0, 0)
    assert found.difference.value == 0
    assert not found.excludes_zero


def test_what_has_no_counterpart_is_counted_and_left_out(made_up: MakeUp) -> None:
    a, b = made_up(run="a"), made_up(run="b", skill=1.5)
    found = compare(a.select(a.label != 0), b.select(b.editing == "block"))
    both = (a.label != 0) & (a.editing == "block")
    assert found.matched == both.sum()
    assert found.only_a == np.sum((a.label != 0) & ~both)
    assert found.only_b == np.sum((b.editing == "block") & ~both)
    right_a, right_b = (a.predicted == a.label)[both], (b.predicted == b.label)[both]
    assert found.accuracy_a == pytest.approx(right_a.mean())
    assert found.accuracy_b == pytest.approx(right_b.mean())
    assert found.difference.value == pytest.approx(right_a.mean() - right_b.mean())
    assert any("patches of a have no counterpart" in note for note in found.notes)


def test_turned_round_the_difference_changes_its_sign(made_up: MakeUp) -> None:
    a, b = made_up(run="a"), made_up(run="b", skill=2.5)
    one, two = compare(a, b), compare(b, a)
    assert one.difference.value == pytest.approx(-two.difference.value)
    assert one.difference.low == pytest.approx(-two.difference.high)
    assert one.excludes_zero
    assert excludes_zero(one.difference.intervals[0])
    assert "a is more accurate than b" in verdict(one)
    assert "a is more accurate than b" in verdict(two)


def test_pairing_is_sharper_than_two_separate_intervals(made_up: MakeUp) -> None:
    from phototrace.evidence.evaluation import evaluate

    a, b = made_up(run="a"), made_up(run="b", skill=2.7)
    paired = compare(a, b).difference.intervals[0]
    single = evaluate(a).accuracy.intervals[0]
    assert paired.high - paired.low < single.high - single.low


def test_few_photos_that_differ_prove_nothing(made_up: MakeUp) -> None:
    a = made_up(60, devices=20, scenes=20, skill=60, run="a")
    chances = np.array(a.probabilities)
    lost = np.isin(a.photo, [f"{number:016x}" for number in range(5)])
    chances[lost] = np.roll(np.eye(6, dtype=np.float32)[a.label[lost]], 1, axis=1)
    found = compare(a, replace(a, probabilities=chances, run="b"))
    assert found.difference.value == pytest.approx(5 / 60)
    assert not found.excludes_zero
    assert "do not differ beyond chance" in verdict(found)


def test_devices_are_compared_one_by_one(made_up: MakeUp) -> None:
    a, b = made_up(run="a"), made_up(run="b", skill=1.5)
    gain = (a.predicted == a.label).astype(float) - (b.predicted == b.label)
    for device in compare(a, b).by_device:
        chosen = a.device == device.name
        assert device.difference == pytest.approx(gain[chosen].mean())
        assert (device.patches, device.photos) == (chosen.sum(), 2)


def test_other_classes_or_other_patches_cannot_be_compared(made_up: MakeUp) -> None:
    a = made_up()
    with pytest.raises(UsageError, match="different classes"):
        compare(a, replace(a, classes=a.classes[::-1]))
    with pytest.raises(UsageError, match="no patch in common"):
        compare(a.select(a.label == 0), a.select(a.label == 1))
    with pytest.raises(UsageError, match="no patch in common"):
        compare(a, a.select(np.zeros(len(a), bool)))
    with pytest.raises(UsageError, match="more than once"):
        compare(a, taken(a, np.array([0, 0, 1])))


def test_runs_of_one_name_and_of_other_splits_are_told_apart(made_up: MakeUp) -> None:
    a, b = made_up(), made_up(skill=1.5)
    found = compare(a, replace(b, split_hash="d" * 64))
    assert found.a != found.b
    assert found.a.startswith("made-up (")
    assert "different splits" in found.notes[0]


def test_the_result_is_json(made_up: MakeUp) -> None:
    found = compare(made_up(run="a"), made_up(run="b", skill=1.5))
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["excludes_zero"] is found.excludes_zero
    assert read["difference"]["low"] == found.difference.low
    assert (read["format"], read["version"]) == ("comparison", 1)
