import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.evaluation import SMALLEST, evaluate, patch_trials
from phototrace.evidence.formatting import headline
from phototrace.evidence.intervals import Figure, Interval
from phototrace.evidence.predictions import Predictions

MakeUp = Callable[..., Predictions]


def test_the_shares_are_what_counting_gives(made_up: MakeUp) -> None:
    table = made_up(skill=2.0)
    result = evaluate(table, resamples=100)
    right = [int(np.argmax(p)) == t for p, t in zip(table.chances, table.label, strict=True)]
    assert 0.3 < sum(right) / len(right) < 0.9
    assert result.accuracy.value == pytest.approx(sum(right) / len(right))

    by_class = defaultdict(list)
    for label, hit in zip(table.label.tolist(), right, strict=True):
        by_class[label].append(hit)
    recalls = [sum(by_class[index]) / len(by_class[index]) for index in range(6)]
    assert [c.recall.value for c in result.by_class if c.recall] == pytest.approx(recalls)
    assert result.balanced_accuracy.value == pytest.approx(sum(recalls) / 6)

    counts = Counter(zip(table.label.tolist(), table.predicted.tolist(), strict=True))
    assert result.confusion == tuple(tuple(counts[i, j] for j in range(6)) for i in range(6))
    for j, found in enumerate(result.by_class):
        named = sum(counts[i, j] for i in range(6))
        assert found.precision == pytest.approx(counts[j, j] / named)
    assert sum(result.confusion_shares[2]) == pytest.approx(1)  # type: ignore[arg-type]


def test_uneven_classes_part_accuracy_from_balanced_accuracy(made_up: MakeUp) -> None:
    table = made_up(skill=1.0)
    table = table.select((table.label != 0) | (table.column == 0) & (table.row == 0))
    result = evaluate(table, resamples=100)
    recalls = [found.recall.value for found in result.by_class if found.recall]
    assert result.balanced_accuracy.value == pytest.approx(sum(recalls) / 6)
    assert result.balanced_accuracy.value != pytest.approx(result.accuracy.value, abs=1e-4)


def test_photo_decisions_are_the_highest_mean_log_probability(made_up: MakeUp) -> None:
    table = made_up(skill=1.0)
    groups = defaultdict(list)
    for row in range(len(table)):
        key = (table.photo[row], int(table.label[row]), table.editing[row])
        groups[key].append([math.log(max(p, SMALLEST)) for p in table.chances[row].tolist()])
    right = [
        int(np.argmax(np.mean(logs, axis=0))) == label for (_, label, _), logs in groups.items()
    ]
    result = evaluate(table, resamples=100)
    assert result.decisions == len(groups) == 24 * 6 * 2
    assert result.photo_accuracy.value == pytest.approx(sum(right) / len(right))
    assert result.photo_accuracy.value > result.accuracy.value
    assert result.photo_accuracy.patches == len(table)


def test_one_patch_of_probability_zero_does_not_outweigh_all_others(made_up: MakeUp) -> None:
    table = made_up(1, devices=1, scenes=1, patches=20, classes=("a", "b"))
    chances = np.full((len(table), 2), [0.9, 0.1])
    chances[0] = [0, 1]
    table = replace(
        table,
        probabilities=chances.astype(np.float32),
        label=np.zeros(len(table), int),
        editing=np.full(len(table), ""),
    )
    result = evaluate(table, resamples=100)
    assert (result.decisions, result.photo_accuracy.value) == (1, 1)
    assert math.isfinite(result.log_loss)


def test_log_loss_and_calibration_error(made_up: MakeUp) -> None:
    table = made_up(skill=1.5)
    result = evaluate(table, resamples=100)
    given = table.chances[np.arange(len(table)), table.label].tolist()
    assert result.log_loss == pytest.approx(-sum(map(math.log, given)) / len(given), rel=1e-5)

    bins = defaultdict(list)
    stated = table.chances.max(axis=1).astype(float).tolist()
    for top, hit in zip(stated, table.predicted == table.label, strict=True):
        bins[min(int(15 * top), 14)].append((top, float(hit)))
    gap = sum(abs(sum(t for t, _ in b) - sum(h for _, h in b)) for b in bins.values())
    assert result.calibration_error == pytest.approx(gap / len(table))


def test_an_unknown_scene_is_neither_seen_nor_never_seen(made_up: MakeUp) -> None:
    table = made_up()
    lost = table.scene == "scene 0"
    scene = np.where(lost, "", table.scene)
    result = evaluate(replace(table, scene=scene, seen_scene=table.seen_scene & ~lost))
    patches = {s.value: s.accuracy.patches for s in result.strata if s.what == "scene"}
    assert patches["seen in training"] == np.sum(table.seen_scene & ~lost)
    assert patches["never seen"] == np.sum(~table.seen_scene & ~lost)
    none = evaluate(
        replace(table, scene=np.full(len(table), ""), seen_scene=table.seen_scene & False)
    )
    assert not [s for s in none.strata if s.what == "scene"]


def test_parts_of_the_test_set(made_up: MakeUp) -> None:
    table = made_up()
    result = evaluate(table, resamples=100)
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
        alone = evaluate(table.select(mask), resamples=100)
        assert found[key].accuracy == alone.accuracy
        assert found[key].photo_accuracy == alone.photo_accuracy
    assert found["device", "never seen"].accuracy.devices == 4


def test_devices_scenes_and_photos(made_up: MakeUp) -> None:
    table = made_up(skill=2.0)
    result = evaluate(table, resamples=100)
    assert len(result.by_device) == 12
    for group in result.by_device:
        chosen = table.select(table.device == group.name)
        assert group.accuracy == evaluate(chosen, resamples=100).accuracy
        assert group.seen is bool(chosen.seen_device[0])
    assert [group.name for group in result.by_scene] == sorted({*table.scene.tolist()})
    shares = [photo.right / photo.patches for photo in result.by_photo]
    assert shares == sorted(shares)
    assert len(shares) == 24
    worst = result.by_photo[0]
    rows = table.select(table.photo == worst.photo)
    wrong = rows.predicted[rows.predicted != rows.label].tolist()
    assert (worst.patches, worst.right) == (len(rows), len(rows) - len(wrong))
    assert wrong.count(table.classes.index(worst.mistaken_for)) == max(Counter(wrong).values())
    assert sum(photo.decisions for photo in result.by_photo) == result.decisions
    right = result.photo_accuracy.value * result.decisions
    assert sum(photo.decisions_right for photo in result.by_photo) == pytest.approx(right)
    assert worst.scene == rows.scene[0]


def test_every_share_has_its_intervals(made_up: MakeUp) -> None:
    figure = evaluate(made_up()).accuracy
    assert [(i.by, i.clusters) for i in figure.intervals] == [
        ("photo", 24), ("device", 12), ("scene", 11),
    ]  # fmt: skip
    assert (figure.photos, figure.devices, figure.scenes) == (24, 12, 11)
    single = evaluate(made_up(4, devices=1, scenes=1)).accuracy
    assert [i.by for i in single.intervals] == ["photo"]


def interval(by: str, clusters: int, low: float, high: float) -> Interval:
    return Interval(by, clusters, low, high, f"bootstrap over {by}s", "")


def test_the_interval_quoted_is_the_widest_with_enough_behind_it() -> None:
    photo, device = interval("photo", 99, 0.8, 0.9), interval("device", 10, 0.7, 0.95)
    few = interval("scene", 9, 0.1, 1.0)
    assert Figure(0.85, 9, 9, 9, 9, (photo, device, few)).interval is device
    assert Figure(0.85, 9, 9, 9, 9, (photo, few)).interval is photo
    small = interval("photo", 3, 0.6, 0.9)
    assert Figure(0.85, 9, 9, 9, 9, (small, few)).interval is small
    figure = Figure(0.85, 9, 9, 9, 9, (photo, device, few))
    assert (figure.low, figure.high, figure.method) == (0.7, 0.95, "bootstrap over devices")


def test_a_run_that_is_never_wrong_is_not_certain(made_up: MakeUp) -> None:
    result = evaluate(made_up(152, skill=60))
    assert result.accuracy.value == 1
    over_photos = result.accuracy.intervals[0]
    assert over_photos.low == pytest.approx(0.025 ** (1 / 152))
    assert "exact" in over_photos.method
    assert "100 % of patches were classified correctly (95 % interval, exact, " in headline(result)


def test_the_result_is_json_without_nan(made_up: MakeUp) -> None:
    table = made_up(6, classes=("a", "b", "c"))
    # Class c has no patch, class b is never named.
    chances = np.tile(np.array([1, 0, 0], np.float32), (len(table), 1))
    table = replace(table, probabilities=chances).select(table.label < 2)
    result = evaluate(table, resamples=100)
    read = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert read["by_class"][2] == {"name": "c", "recall": None, "precision": None}
    assert read["by_class"][1]["precision"] is None
    assert read["confusion_shares"][2] == [None, None, None]
    assert read["accuracy"]["value"] == 0.5
    assert read["accuracy"]["intervals"][0]["by"] == "photo"
    assert read["accuracy"]["low"] == result.accuracy.low
    assert (read["format"], read["version"]) == ("evaluation", 1)
    assert "1 of 3 classes had no test patch." in read["notes"]


def test_the_same_seed_gives_the_same_result(made_up: MakeUp) -> None:
    table = made_up()
    assert evaluate(table, resamples=200).to_dict() == evaluate(table, resamples=200).to_dict()
    assert evaluate(table, seed=1).accuracy.intervals != evaluate(table).accuracy.intervals


def test_the_order_of_patches_does_not_matter(made_up: MakeUp) -> None:
    table = made_up()
    order = np.random.default_rng(0).permutation(len(table))
    names = ("label", "probabilities", "photo", "device", "scene", "camera", "editing", "row",
             "column", "seen_device", "seen_scene")  # fmt: skip
    shuffled = replace(table, **{name: getattr(table, name)[order] for name in names})
    one, two = (evaluate(t, resamples=100).to_dict() for t in (table, shuffled))
    assert one["log_loss"] == pytest.approx(two["log_loss"])
    for name in ("accuracy", "photo_accuracy", "by_device", "by_photo", "confusion", "strata"):
        assert one[name] == two[name]


def test_notes_say_what_the_test_cannot_show(made_up: MakeUp) -> None:
    table = made_up()
    assert evaluate(table, resamples=100).notes == ()
    n = len(table)
    every = np.ones(n, bool)
    scene = np.where(table.photo == table.photo[0], "", table.scene)
    device = np.where(table.label == 2, "one", table.device)
    table = replace(table, seen_device=every, scene=scene, device=device)
    notes = " ".join(evaluate(table, resamples=100).notes)
    assert "Training had photos of every device tested here" in notes
    assert "every scene" not in notes
    assert "1 of 6 classes were tested on one device only" in notes
    assert "The scene of 1 photo is unknown" in notes


def test_nothing_to_evaluate_is_said(made_up: MakeUp) -> None:
    table = made_up()
    with pytest.raises(UsageError, match="no patches"):
        evaluate(table.select(np.zeros(len(table), bool)))
    with pytest.raises(UsageError, match="at least 100"):
        evaluate(table, resamples=10)


def test_compact_predictions_say_what_they_cannot(made_up: MakeUp) -> None:
    table = made_up(skill=2.0)
    small = table.compact()
    assert patch_trials(small).figure() == evaluate(table).accuracy
    assert patch_trials(small).figure(balanced=True) == evaluate(table).balanced_accuracy
    with pytest.raises(UsageError, match="made-up are compact"):
        evaluate(small)
