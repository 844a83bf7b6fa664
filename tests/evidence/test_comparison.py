import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.comparison import compare, compare_numbers, excludes_zero
from phototrace.evidence.formatting import verdict
from phototrace.evidence.patch_table import FLAGS, NUMBERS, TEXTS
from phototrace.evidence.predictions import NumberPredictions, Predictions

MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]


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
    both = np.concatenate([table.chances, table.chances[::-1]])
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
    chances = np.array(a.chances)
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


def test_compact_tables_compare_as_full_ones_do(made_up: MakeUp) -> None:
    a, b = made_up(run="a"), made_up(run="b", skill=1.5)
    full, small = compare(a, b), compare(a.compact(), b.compact())
    assert (small.difference, small.by_device) == (full.difference, full.by_device)
    assert compare(a, b.compact()).difference == full.difference
    assert small.a_hash == a.compact().hash


def test_numbers_are_compared_by_their_absolute_errors(made_up_numbers: MakeUpNumbers) -> None:
    a, b = made_up_numbers(run="a"), made_up_numbers(run="b", spread=6.0)
    order = np.random.default_rng(1).permutation(len(b))
    names = (*TEXTS, *NUMBERS, *FLAGS, "value")
    shuffled = replace(b, **{name: getattr(b, name)[order] for name in names})
    off_a, off_b = (np.abs(t.value.astype(float) - t.label) for t in (a, b))
    for found in (compare_numbers(a, b), compare_numbers(a, shuffled)):
        assert found.error_a == pytest.approx(off_a.mean())
        assert found.error_b == pytest.approx(off_b.mean())
        assert found.difference.value == pytest.approx((off_b - off_a).mean())
        assert found.difference.low < found.difference.value < found.difference.high
        assert found.a_nearer == np.sum(off_a < off_b)
        assert found.b_nearer == np.sum(off_b < off_a)
        for device in found.by_device:
            chosen = a.device == device.name
            assert device.difference == pytest.approx((off_b - off_a)[chosen].mean())
        assert found.excludes_zero
    turned = compare_numbers(b, a)
    assert turned.difference.low == pytest.approx(-found.difference.high)
    for one in (found, turned):
        assert "a has a smaller mean error than b" in verdict(one)
    difference = found.difference
    assert (
        f"the error of b minus that of a is +{difference.value:.2f} strength steps (95 %"
        f" interval +{difference.low:.2f} to +{difference.high:.2f} over" in verdict(found)
    )
    assert "do not differ beyond chance" in verdict(compare_numbers(a, replace(a, run="again")))


def test_a_wild_answer_of_either_run_is_counted(made_up_numbers: MakeUpNumbers) -> None:
    a = made_up_numbers(run="a")
    value = np.array(a.value)
    value[0] = 5000
    wild = replace(a, value=value, run="wild")
    found = compare_numbers(a, wild)
    gain = abs(5000 - float(a.label[0])) - abs(float(a.value[0]) - float(a.label[0]))
    assert found.difference.value == pytest.approx(gain / len(a))
    assert compare_numbers(wild, a).difference.value == pytest.approx(-gain / len(a))
    few = made_up_numbers(2)
    far = replace(few, value=np.full(len(few), 5000, np.float32), run="far")
    for interval in compare_numbers(few, far).difference.intervals:
        assert interval.low < 4900 < interval.high


def test_other_units_ranges_or_patches_cannot_be_compared(made_up_numbers: MakeUpNumbers) -> None:
    a = made_up_numbers()
    with pytest.raises(UsageError, match="different units or ranges"):
        compare_numbers(a, replace(a, unit="degrees"))
    with pytest.raises(UsageError, match="different units or ranges"):
        compare_numbers(a, replace(a, range=(0, 100)))
    with pytest.raises(UsageError, match="no patch in common"):
        compare_numbers(a.select(a.label == 50), a.select(a.label == 95))


def test_the_result_of_numbers_is_json(made_up_numbers: MakeUpNumbers) -> None:
    found = compare_numbers(made_up_numbers(run="a"), made_up_numbers(run="b", spread=6.0))
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (read["format"], read["unit"]) == ("number comparison", "strength steps")
    assert read["excludes_zero"] is True
    assert read["difference"]["low"] == found.difference.low
