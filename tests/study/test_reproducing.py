"""Results of a study: written, and held against the predictions they come from."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phototrace import cli
from phototrace.errors import DamagedError, UsageError
from phototrace.photos.manifest import Manifest
from phototrace.study.paper import Key
from phototrace.study.photos import other_sizes
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import Results, check

FILES = ("figure-3.svg", "figure-3.csv", "table-2.csv", "table-3.csv", "index.html")


@pytest.fixture
def study(reproduced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reproduced, tmp_path / "study"))


def test_all_files_are_there_and_nothing_differs(reproduced: Path) -> None:
    for name in (*FILES, "figure-3.png", "results.json"):
        assert (reproduced / name).stat().st_size > 100
    assert check(reproduced) == []


def test_results_hold_every_cell_with_interval_seed_and_hash(reproduced: Path) -> None:
    facts = json.loads((reproduced / "results.json").read_text())
    assert len(facts["scores"]) == 26
    for score in facts["scores"]:
        accuracy = score["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    for key in ("seeds", "manifest", "split", "tests", "plan", "machine", "photos", "findings"):
        assert facts[key]
    assert {
        one["run_hash"] for one in json.loads((reproduced / "study.json").read_text())["answers"]
    }
    assert [f["name"] for f in facts["findings"]] == [
        "task asymmetry", "feature hierarchy, manipulation", "feature hierarchy, camera",
        "shallow transfer", "multitask above transfer", "trees above the network",
        "unified features", "few photos",
    ]  # fmt: skip


def test_the_tables_show_the_scores(reproduced: Path) -> None:
    scores = Results.of(reproduced).scores
    rows = list(csv.DictReader((reproduced / "figure-3.csv").open()))
    found = {(r["target"], r["way"], r["depth"]): float(r["accuracy"]) for r in rows}
    key = Key("B", "transfer", "A", "fc2")
    assert found["B", "transfer", "fc2"] == pytest.approx(scores[key].accuracy.value, abs=1e-4)


def test_check_names_a_figure_that_was_changed(study: Path) -> None:
    facts = json.loads((study / "results.json").read_text())
    facts["scores"][3]["accuracy"]["value"] += 0.01
    (study / "results.json").write_text(json.dumps(facts))
    (wrong,) = check(study)
    assert wrong.startswith("results.json: scores[3].accuracy.value is")


@pytest.mark.parametrize("name", FILES)
def test_check_names_a_page_or_table_that_was_changed(study: Path, name: str) -> None:
    path = study / name
    path.write_bytes(path.read_bytes() + b" ")
    (wrong,) = check(study)
    assert wrong.startswith(f"{name}: not what the predictions give")


def test_check_needs_results(study: Path, tmp_path: Path) -> None:
    (study / "results.json").unlink()
    with pytest.raises(UsageError, match=r"has no results\.json"):
        check(study)
    with pytest.raises(UsageError, match="no finished study"):
        check(tmp_path)


def test_check_is_of_the_recipe_that_was_given(study: Path, tiny: StudyRecipe) -> None:
    assert check(study, tiny) == []
    with pytest.raises(UsageError, match="holds a study of another recipe"):
        check(study, tiny.model_copy(update={"margin": 2.0}))


def test_check_finds_what_is_gone(study: Path) -> None:
    facts = json.loads((study / "results.json").read_text())
    number = next(n for n, score in enumerate(facts["scores"]) if score["paper"] is None)
    del facts["scores"][number]["paper"]
    (study / "results.json").write_text(json.dumps(facts))
    (study / "figure-3.png").unlink()
    gone, drawn = check(study)
    assert gone.startswith(f"results.json: scores[{number}].paper is 'missing'")
    assert drawn == "figure-3.png: is missing."


@pytest.mark.parametrize("key", ["photos", "recipe", "seeds", "depths"])
def test_a_ledger_that_lacks_something_is_named(study: Path, key: str) -> None:
    facts = json.loads((study / "study.json").read_text())
    facts[key] = [] if isinstance(facts[key], list) else {}
    (study / "study.json").write_text(json.dumps(facts))
    with pytest.raises(DamagedError, match=r"study\.json"):
        Results.of(study)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["reproduce", *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def recipe_file(tiny: StudyRecipe, tmp_path: Path) -> Path:
    import tomli_w

    path = tmp_path / "tiny.toml"
    path.write_text(tomli_w.dumps(tiny.model_dump(exclude_none=True)))
    return path


def test_the_command(recipe_file: Path, study: Path, tiny_photos: Manifest) -> None:
    photos = tiny_photos.save(study.parent / "photos.parquet")
    given = (str(recipe_file), "--photos", str(photos.root / "photos.parquet"), "--out", str(study))
    status, out, err = run(*given)
    assert (status, err) == (0, "")  # all was done before
    assert "task asymmetry: " in out
    assert out.rstrip().endswith("index.html")
    assert run(*given, "--check")[0] == 0
    status, out, _ = run(*given, "--plan")
    assert status == 0
    assert "11 forests of 10 trees" in out
    assert "split by device and scene" in out
    plan = json.loads(run(*given, "--plan", "--json")[1])
    assert len(plan["trainings"]) == 3 + 4 + 3 + 1
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0


def test_the_command_exits_1_where_figures_differ(recipe_file: Path, study: Path) -> None:
    (study / "table-2.csv").write_text("x")
    status, out, err = run(str(recipe_file), "--out", str(study), "--check")
    assert status == 1
    assert "1 places differ" in out
    assert "table-2.csv: not what the predictions give." in err


def test_the_plan_notes_photos_of_other_sizes(
    recipe_file: Path, study: Path, tiny_photos: Manifest
) -> None:
    wider = [replace(p, width=p.width + 8) for p in tiny_photos.photos[:2]]
    manifest = replace(tiny_photos, photos=(*wider, *tiny_photos.photos[2:]))
    path = study.parent / "wider.parquet"
    manifest.save(path)
    given = (str(recipe_file), "--photos", str(path), "--out", str(study.parent / "new"), "--plan")
    assert "2 photos have other sizes than listed." in run(*given)[1]
    notes = json.loads(run(*given, "--json")[1])["notes"]
    assert "where the manifest says" in notes[0]
    assert other_sizes(tiny_photos) == []


def test_plan_and_check_do_not_go_together(recipe_file: Path) -> None:
    result = CliRunner().invoke(cli.app, ["reproduce", str(recipe_file), "--plan", "--check"])
    assert isinstance(result.exception, UsageError)


def test_what_cannot_be_a_studys_folder_or_photos(recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = CliRunner().invoke(
        cli.app, ["reproduce", str(recipe_file), "--out", str(tmp_path / "file")]
    )
    assert str(result.exception) == f"{tmp_path / 'file'} is a file. Give a folder with --out."
    index = tmp_path / "dresden.csv"
    index.write_text(
        "filename,position_num,motive_num\nCanon_Ixus70_0_1.JPG,1,1\nCanon_Ixus70_1_2.JPG,1,1\n"
    )
    result = CliRunner().invoke(cli.app, ["reproduce", "paper", "--photos", str(index)])
    assert isinstance(result.exception, UsageError)
    assert "index of the Dresden database, without photos" in str(result.exception)
