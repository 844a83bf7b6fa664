"""What a study keeps, and what it trains again, where a run of it is gone or of another machine."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from phototrace.learning import training
from phototrace.learning.optim import learning_rate
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest
from phototrace.study import running
from phototrace.study.recipe import StudyRecipe
from phototrace.study.running import run_study

from .conftest import runs, said


def test_what_cannot_go_on_starts_again(
    study: Path, done: Path, tiny: StudyRecipe, tiny_photos: Manifest,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A checkpoint of another machine: as many threads, another torch."""
    (folder,) = study.glob("runs/B-to-A-fc2-*")
    shutil.rmtree(folder)
    (other,) = study.glob("runs/A-to-B-fc2-*")
    checkpoint = folder / "checkpoint" / "step-000000000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text('{"plan": "of another machine"}')
    (checkpoint / "contents.json").write_text('{"version": 1, "files": {}}')
    assert other.is_dir()
    run_study(tiny, tiny_photos, study)
    assert "B to A at fc2 cannot go on where it was and starts again" in caplog.text
    assert said(study) == said(done)


def test_a_transfer_on_a_trunk_that_was_trained_again_is_too(
    study: Path,
    done: Path,
    tiny: StudyRecipe,
    tiny_photos: Manifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another machine, where the same choices give other weights."""
    (folder,) = study.glob("runs/A-[0-9a-f]*")
    before = runs(study)
    shutil.rmtree(folder)
    monkeypatch.setattr(training, "learning_rate", lambda *given: 1.01 * learning_rate(*given))
    run_study(tiny, tiny_photos, study)
    after = runs(study)
    retrained = {name for name in after if after[name] != before.get(name)}
    assert retrained == {name for name in before if name.startswith(("A-to-B-", folder.name))}


def test_a_trunk_that_came_out_the_same_keeps_what_stands_on_it(
    study: Path, done: Path, tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    (folder,) = study.glob("runs/A-[0-9a-f]*")
    before = runs(study)
    shutil.rmtree(folder)
    run_study(tiny, tiny_photos, study)
    assert {n for n, h in runs(study).items() if h != before.get(n)} <= {folder.name}
    assert said(study) == said(done)


def test_the_output_of_an_interrupted_transfer_is_kept(
    study: Path, tiny: StudyRecipe, tiny_photos: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = study.glob("runs/B-to-A-constr-*")
    shutil.rmtree(folder)
    stored = study / "runs/stores/trunk-000000000000"
    stored.mkdir()
    seen = []

    def train(*given: Any, **more: Any) -> Any:
        seen.append(stored.is_dir())
        return real(*given, **more)

    real = train_recipe
    monkeypatch.setattr(running, "train_recipe", train)
    run_study(tiny, tiny_photos, study)
    assert seen == [True]
    assert not stored.is_dir()
