"""What is left out of a training is said once each: in the plan, on the page and in JSON."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from phototrace import cli
from phototrace.evidence.assessing import assess
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import BACKBONES, Stages
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

LEG = {"task": "camera", "batch_size": 8}


def small(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


@pytest.fixture(autouse=True)
def backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "small", small)


def recipe(**more: Any) -> Recipe:
    data: dict[str, Any] = {
        "name": "noted",
        "split": {"validation": 0.15, "test": 0.25},
        "network": {"backbone": "small", "patch_size": 64},
        "legs": {"b": LEG},
        "training": {"epochs": 1, "precision": "float32"},
    }
    return Recipe.parse({**data, **more})


def note(made: Any, words: str) -> str:
    (found,) = [text for text in made.notes if words in text]
    return str(found)


@pytest.fixture
def uneven(photos: Manifest) -> Manifest:
    """Two photos of a third model, two of an unknown camera, and one too small."""
    changed = {
        0: {"model": "C"}, 5: {"model": "C"}, 6: {"make": "", "model": ""},
        9: {"make": "", "model": ""}, 10: {"width": 60},
    }  # fmt: skip
    records = [replace(r, **changed.get(k, {})) for k, r in enumerate(photos.photos)]  # type: ignore[arg-type]
    return replace(photos, photos=tuple(records))


@pytest.mark.parametrize("where", ["photos", "leg"])
def test_classes_left_out_by_their_number_of_photos(uneven: Manifest, where: str) -> None:
    few = {"min_photos": 3}
    made = prepare(
        recipe(photos=few) if where == "photos" else recipe(legs={"b": {**LEG, **few}}), uneven
    )
    text = note(made, "fewer than 3 photos")
    assert "2 models, 4 photos" in text
    assert text.startswith("[photos]" if where == "photos" else "Leg 'b'")
    assert made.tasks["b"].classes == ("Make A", "Make B")
    assert not [n for n in prepare(recipe(), uneven).notes if "fewer than" in n]


def test_photos_of_unknown_camera_and_too_small_ones(uneven: Manifest) -> None:
    made = prepare(recipe(), uneven)
    assert "2 photos of unknown camera take no part (the first: 06.jpg)" in note(made, "unknown")
    assert "1 photos are too small" in note(made, "too small")
    assert "10.jpg, 60 x 200" in note(made, "too small")


def test_what_the_split_noted_is_a_note_of_the_training(uneven: Manifest) -> None:
    assert "Make C is not in the" in note(prepare(recipe(), uneven), "Make C is not")


def test_sizes_that_differ_are_noted_in_the_run_and_on_the_page(
    photos: Manifest, tmp_path: Path
) -> None:
    wrong = replace(photos.photos[2], width=999)
    manifest = replace(photos, photos=(*photos.photos[:2], wrong, *photos.photos[3:]))
    train_only = recipe(split={"validation": 0.15, "test": 0.25, "test_devices": ["Make B / 1"]})
    run = train_recipe(train_only, manifest, tmp_path)
    text = note(type("Run", (), {"notes": run.provenance["notes"]}), "gave no patches")
    assert text.startswith("Leg 'b': 1 photos gave no patches.")
    assert "216 x 200 pixels where the manifest says 999 x 200" in text
    tests = [r for r in manifest.photos if run.split["part"].get(r.sha256) == "test"]
    wider = [replace(r, width=300) for r in tests[:1]]
    result = assess([run], replace(manifest, photos=(*wider, *tests[1:])), tmp_path / "out")
    page = (tmp_path / "out/index.html").read_text()
    assert "1 photos could not be tested." in page
    assert "1 photos gave no patches." in page
    assert result.unreadable()


def test_the_commands_say_the_notes(
    uneven: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uneven.save(tmp_path / "photos.csv")
    (tmp_path / "noted.toml").write_text(recipe().to_toml())
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["phototrace", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr()

    said = run("audit", "noted.toml", "--photos", "photos.csv")
    assert "2 photos of unknown camera" in said[0]
    told = json.loads(run("audit", "noted.toml", "--photos", "photos.csv", "--json")[0])
    assert any("2 photos of unknown camera" in n for n in told["notes"])
    said = run("train", "noted.toml", "--photos", "photos.csv", "--out", "runs", "--json")
    assert any("2 photos of unknown camera" in n for n in json.loads(said[0])["notes"])
    assert "2 photos of unknown camera" in said[1]


def test_rows_that_name_no_part_are_counted(
    photos: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["Train", "val", "test ", ""]
    records = [replace(r, extra={"part": words[k % 4]}) for k, r in enumerate(photos.photos)]
    copy = replace(records[0], extra={"part": "TEST"})
    replace(photos, photos=(*records, copy)).save(tmp_path / "p.csv")
    monkeypatch.setattr(sys, "argv", ["phototrace", "audit", str(tmp_path / "p.csv")])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr()
    assert "1 leaks" in said.out
    assert "5 photo(s) excluded: part is empty." in said.out
