"""A study run: interrupted, resumed, shared, checked, and refused where it cannot be."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from phototrace.errors import DamagedError, UsageError
from phototrace.files import locked, sha256_of
from phototrace.photos.manifest import Manifest
from phototrace.study import running
from phototrace.study.plan import Forest, Training, plan_study
from phototrace.study.recipe import StudyRecipe
from phototrace.study.results import Answers
from phototrace.study.running import run_study

from .conftest import runs, said


def test_every_cell_is_answered_once(done: Path) -> None:
    answers = Answers.load(done)
    assert len(answers.predictions) == 3 + 1 + 3 + 4 + 4 + 11  # two depths
    assert len(runs(done)) == 3 + 4 + 2 + 1 + 1
    assert not list(done.glob("runs/stores/trunk-*"))  # stored for one training, then gone
    for records in answers.records.values():
        for record in records:
            assert (done / record["file"]).is_file()


def test_a_finished_study_trains_and_grows_nothing(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, ledger = runs(study), (study / "study.json").read_bytes()
    for name in ("train_recipe", "predict_store", "detect_store"):
        monkeypatch.setattr(running, name, _must_not_run)
    run_study(tiny, tiny_photos, study)
    assert runs(study) == before
    assert (study / "study.json").read_bytes() == ledger


def _must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("done twice")


@pytest.mark.parametrize("after", [0, 4, 13, 20])
def test_interrupted_anywhere_it_says_the_same(
    tiny: StudyRecipe,
    tiny_photos: Manifest,
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    """What a stop may leave: some runs without their answers, some answers, no ledger."""
    out = tmp_path / "study"
    shutil.copytree(done, out)
    (out / "study.json").unlink()
    steps = sorted(out.glob("predictions/*.json"), key=lambda p: p.stat().st_mtime_ns)
    for path in steps[after:]:
        path.unlink()
        path.with_suffix(".parquet").unlink(missing_ok=after % 2 == 0)
    for folder in sorted(out.glob("runs/*-fc2-*"))[: after // 4]:
        shutil.rmtree(folder)
    run_study(tiny, tiny_photos, out)
    assert said(out) == said(done)


@pytest.mark.slow
def test_killed_in_a_training_it_goes_on(
    tiny: StudyRecipe, tiny_photos: Manifest, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    child = multiprocessing.get_context("spawn").Process(
        target=run_study, args=(tiny, tiny_photos, out)
    )
    child.start()
    _wait(lambda: len(list(out.glob("predictions/*.json"))) >= 3)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    finished = runs(out)
    assert finished
    run_study(tiny, tiny_photos, out)
    assert said(out) == said(done)
    assert finished.items() <= runs(out).items()


def _wait(until: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_another_seed_adds_its_own_and_shares_the_rest(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    before = runs(study)
    once = Answers.load(study)
    run_study(tiny, tiny_photos, study, seeds=2)
    assert before.items() <= runs(study).items()
    assert len(runs(study)) == 2 * len(before)
    twice = Answers.load(study)
    for key, found in twice.predictions.items():
        assert found[0].hash == once.predictions[key][0].hash
        assert len({one.hash for one in found}) == 2
    score = twice.score(next(iter(twice.predictions)))
    assert score.accuracy.value == pytest.approx(sum(score.by_seed) / 2)


def test_other_trees_keep_the_trainings(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "train_recipe", _must_not_run)
    fewer = tiny.model_copy(update={"trees": tiny.trees.model_copy(update={"number": 3})})
    run_study(fewer, tiny_photos, study)
    assert len(list(study.glob("predictions/trees-*.parquet"))) == 22


def test_two_at_once(study: Path, tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    with locked(study), pytest.raises(UsageError, match="Another phototrace is at work"):
        run_study(tiny, tiny_photos, study)


@pytest.fixture
def own_photos(tiny_photos: Manifest, tmp_path: Path) -> Manifest:
    """The photos in a folder of their own, so that they can be changed."""
    root = Path(shutil.copytree(tiny_photos.root, tmp_path / "photos"))
    return replace(tiny_photos, root=root)


def test_a_photo_that_changed_between_two_starts(
    study: Path, tiny: StudyRecipe, own_photos: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "train_recipe", _must_not_run)
    photo = own_photos.path_of(own_photos.photos[3])
    photo.write_bytes(photo.read_bytes() + b"x")
    with pytest.raises(
        UsageError, match=r"not those that the study .* began with \(1 differ\)"
    ) as e:
        run_study(tiny, own_photos, study)
    assert photo.name in str(e.value)


def test_other_photos_than_at_the_first_start(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    fewer = replace(tiny_photos, photos=tiny_photos.photos[1:])
    with pytest.raises(UsageError, match=r"is not among the photos any more. Restore them"):
        run_study(tiny, fewer, study)
    renamed = [replace(p, scene=f"{p.scene} again") for p in tiny_photos.photos]
    with pytest.raises(UsageError, match=r"manifest describes .* in another way"):
        run_study(tiny, replace(tiny_photos, photos=tuple(renamed)), study)


def test_a_bad_photo_is_named_and_stops_nothing(
    tiny: StudyRecipe, own_photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    part = plan_study(tiny, own_photos).experiment.split.part
    bad = [p for p in own_photos.photos if part.get(p.id) == "train"][:2]
    own_photos.path_of(bad[0]).unlink()
    own_photos.path_of(bad[1]).write_bytes(b"not a photo")
    monkeypatch.setattr(running._Work, "do", lambda self: [])
    out = tmp_path / "study"
    run_study(tiny, own_photos, out)
    facts = json.loads((out / "study.json").read_text())
    assert [one["path"] for one in facts["photos_left_out"]] == [p.path for p in bad]
    assert "2 of 40 photos are left out" in caplog.text
    run_study(tiny, own_photos, out)  # the same two are missing at the next start: nothing changed


def test_a_disk_too_small_is_found_before_anything_is_trained(
    tiny: StudyRecipe, tiny_photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "free_bytes", lambda folder: 1000)
    monkeypatch.setattr(running, "train_recipe", _must_not_run)
    with pytest.raises(UsageError, match=r"takes up to .* GB, and .* has room for 0.0 GB"):
        run_study(tiny, tiny_photos, tmp_path / "study")


def test_a_split_that_leaks_is_refused_unless_told(
    tiny: StudyRecipe, own_photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One photo resaved, under the name of a photo that tests."""
    part = plan_study(tiny, own_photos).experiment.split.part
    trains, tests = (next(p for p in own_photos.photos if part.get(p.id) == x) for x in
                     ("train", "test"))  # fmt: skip
    with Image.open(own_photos.path_of(trains)) as photo:
        photo.save(own_photos.path_of(tests), quality=90)
    sha256 = sha256_of(own_photos.path_of(tests))
    copy = replace(tests, id=sha256[:16], sha256=sha256)
    photos = tuple(copy if p is tests else p for p in own_photos.photos)
    leaky = replace(own_photos, photos=photos)
    monkeypatch.setattr(running._Work, "do", lambda self: [])
    out = tmp_path / "study"
    with pytest.raises(UsageError, match=r"leaks in . places, all listed in .*leaks\.json"):
        run_study(tiny, leaky, out)
    run_study(tiny, leaky, out, allow_leaks=True)
    assert json.loads((out / "study.json").read_text())["leaks"]


def test_progress_counts_the_whole_plan(
    tiny: StudyRecipe, tiny_photos: Manifest, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in study.glob("predictions/trees-C-on-B-*"):
        path.unlink()
    run_study(tiny, tiny_photos, study)
    lines = [x for x in caplog.messages if " of 22: " in x]
    assert len(lines) == 1
    assert "trees for C on B, seed 1 (about" in lines[0]


def test_damaged_predictions_are_named_and_made_again(
    study: Path, done: Path, tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    path, other = list(study.glob("predictions/*.parquet"))[:2]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=path.name):
        Answers.load(study)
    other.unlink()
    mine, theirs = sorted(set(study.glob("predictions/trees-A-*.parquet")) - {path, other})[:2]
    shutil.copyfile(theirs, mine)  # whole, and of another answer
    run_study(tiny, tiny_photos, study)
    assert said(study) == said(done)


def test_predictions_of_another_answer_are_not_taken(study: Path) -> None:
    one, other = sorted(study.glob("predictions/trees-A-*.parquet"))[:2]
    shutil.copyfile(one, other)
    with pytest.raises(DamagedError, match=r"is not what study.json lists"):
        Answers.load(study)


def test_a_ledger_that_is_not_one(study: Path) -> None:
    ledger = study / "study.json"
    facts = json.loads(ledger.read_text())
    for wrong, match in (
        ("{", "cannot be read"),
        (json.dumps({**facts, "version": 9}), "of version 9"),
        (json.dumps({**facts, "answers": [{}]}), "cannot be read"),
        (
            json.dumps({**facts, "answers": [{**facts["answers"][0], "file": "../x.parquet"}]}),
            "cannot be read",
        ),
    ):
        ledger.write_text(wrong)
        with pytest.raises(DamagedError, match=match):
            Answers.load(study)
    ledger.unlink()
    with pytest.raises(UsageError, match="no finished study"):
        Answers.load(study)


def test_labels_tell_trainings_apart(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    plan = plan_study(tiny, tiny_photos)
    steps: list[Training | Forest] = [*plan.trainings, *plan.forests]
    assert len({one.label for one in steps}) == len(steps)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (95, "2 min"), (5400, "1 h 30 min"), (432_000, "5 days")],
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert running.clock(seconds) == text


def test_a_column_of_the_manifest_that_changed_between_two_starts(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    """It may decide which photos are for training, though every file is the same."""
    first = tiny_photos.photos[0]
    other = replace(tiny_photos, photos=(replace(first, corpus="x"), *tiny_photos.photos[1:]))
    with pytest.raises(
        UsageError, match="manifest describes .*" + Path(first.path).name + " in another way"
    ):
        run_study(tiny, other, study)


def test_photos_cut_short_or_twice_are_left_out_by_name(
    tiny: StudyRecipe, own_photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the manifest has the right hash of a broken file."""
    part = plan_study(tiny, own_photos).experiment.split.part
    bad = next(p for p in own_photos.photos if part.get(p.id) == "train")
    path = own_photos.path_of(bad)
    path.write_bytes(path.read_bytes()[:2000])
    sha256 = sha256_of(path)
    broken = replace(bad, id=sha256[:16], sha256=sha256)
    rows = [broken if p is bad else p for p in own_photos.photos]
    twice = replace(own_photos, photos=(*rows, replace(rows[5], path=f"./{rows[5].path}")))
    monkeypatch.setattr(running._Work, "do", lambda self: [])
    for _ in range(2):  # at the next start the same two are left out
        run_study(tiny, twice, tmp_path / "study")
        facts = json.loads((tmp_path / "study" / "study.json").read_text())
        left_out = facts["photos_left_out"]
        assert [one["path"] for one in left_out] == [bad.path, f"./{rows[5].path}"]
        assert "is the same file as" in left_out[1]["text"]


def test_a_manifest_with_wrong_sizes_stops_before_any_training(
    tiny: StudyRecipe, tiny_photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "train_recipe", _must_not_run)
    used = plan_study(tiny, tiny_photos).experiment.plans["A"].manifest.photos[0].sha256
    wider = tuple(
        replace(p, width=512) if p.sha256 == used else p for p in tiny_photos.photos
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"1 photos cannot be cut .* Index the photos again"):
        run_study(tiny, replace(tiny_photos, photos=wider), tmp_path / "study")


def test_the_disk_needed_is_that_of_the_study(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    """Eight gigabytes of trunk output are allowed, and not needed."""
    from phototrace.study.estimating import estimate

    assert tiny.transfer.trunk_store_gb == 8
    assert estimate(plan_study(tiny, tiny_photos)).bytes < 0.2e9
