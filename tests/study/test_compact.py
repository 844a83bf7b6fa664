"""A study's predictions made compact: every figure stays, and the hashes still hold."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.evaluation import evaluate
from phototrace.evidence.predictions import Predictions
from phototrace.photos.manifest import Manifest
from phototrace.study import running
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import check, reproduce
from phototrace.study.results import Answers

PROGRAM = Path(__file__).parents[2] / "results/compact.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compact", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def study(reproduced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reproduced, tmp_path / "study"))


def test_nothing_differs_after_it(study: Path, program: ModuleType) -> None:
    before = Answers.load(study)
    program.compact_study(study)
    after = Answers.load(study)
    for key, several in before.predictions.items():
        for one, other in zip(several, after.predictions[key], strict=True):
            assert other.probabilities is None
            assert other.made_from == one.hash
            np.testing.assert_array_equal(one.predicted, other.predicted)
    assert check(study) == []
    with pytest.raises(UsageError, match="are compact"):
        evaluate(other)


def test_done_twice_it_changes_nothing(study: Path, program: ModuleType) -> None:
    program.compact_study(study)
    files = [path for path in study.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    program.compact_study(study)
    assert {path: path.read_bytes() for path in files} == before


def test_stopped_half_way_it_goes_on(study: Path, program: ModuleType) -> None:
    first = json.loads((study / "study.json").read_text())["answers"][0]["file"]
    program.compact_file(study / first)
    with pytest.raises(DamagedError, match=r"not what study\.json lists"):
        check(study)
    program.compact_study(study)
    assert check(study) == []


def test_a_compact_study_is_not_trained_again(
    study: Path,
    program: ModuleType,
    tiny: StudyRecipe,
    tiny_photos: Manifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program.compact_study(study)
    before = (study / "study.json").read_bytes()
    for name in ("train_recipe", "predict_store", "detect_store"):
        monkeypatch.setattr(running, name, None)
    reproduce(tiny, tiny_photos, study)
    assert (study / "study.json").read_bytes() == before
    assert check(study) == []


def test_what_the_study_does_not_list_is_not_made_compact(study: Path, program: ModuleType) -> None:
    record = json.loads((study / "study.json").read_text())["answers"][-1]
    path = study / record["file"]
    table = Predictions.load(path)
    table.select(np.arange(len(table)) > 0).save(path)
    with pytest.raises(DamagedError, match="is not what"):
        program.compact_study(study)
    assert Predictions.load(path).probabilities is not None


def test_a_compact_file_from_another_table_is_refused(study: Path, program: ModuleType) -> None:
    program.compact_study(study)
    ledger = json.loads((study / "study.json").read_text())
    record, path = ledger["answers"][0], study / ledger["answers"][0]["file"]
    table = Predictions.load(path)
    forged = replace(table, made_from="0" * 64)
    forged.save(path)
    record["compact_hash"] = forged.hash
    (study / "study.json").write_text(json.dumps(ledger))
    with pytest.raises(DamagedError, match="is not what"):
        Answers.load(study)


def test_files_are_named_with_their_sizes(
    study: Path,
    program: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (path, *_) = sorted(study.glob("predictions/*.parquet"))
    monkeypatch.setattr("sys.argv", ["compact.py", str(path)])
    program.main()
    assert f"{path}: 0.0" in capsys.readouterr().out
    assert Predictions.load(path).probabilities is None


def test_halved_a_table_stays_whole_and_names_the_same(
    tmp_path: Path, program: ModuleType, answers_of: Callable[..., Answers]
) -> None:
    ((table, *_), *_) = answers_of({}).predictions.values()
    chances = np.random.default_rng(0).dirichlet([1, 1], len(table)).astype(np.float32)
    # Half precision would make them equal, and so name the first.
    chances[0] = [0.49999, 0.50001]
    table = replace(table, probabilities=chances)
    table.save(tmp_path / "p.parquet")
    before = (tmp_path / "p.parquet").stat().st_size
    program.halve_file(tmp_path / "p.parquet")
    rounded = Predictions.load(tmp_path / "p.parquet")
    np.testing.assert_array_equal(rounded.predicted, table.predicted)
    np.testing.assert_array_equal(rounded.chances[0], chances[0])
    np.testing.assert_allclose(rounded.chances, chances, rtol=0, atol=5e-4)
    assert (tmp_path / "p.parquet").stat().st_size < before - 500
