"""A training refuses a split that leaks, unless it is told not to."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from torch import nn

from phototrace import cli
from phototrace.errors import PhotoError, UsageError
from phototrace.files import sha256_of
from phototrace.learning import leaks as module
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.leaks import check_leaks, trunk_leaks
from phototrace.learning.network import Stages
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.training import train_recipe
from phototrace.photos.audit import audit
from phototrace.photos.manifest import Manifest
from phototrace.photos.remembered import remember
from phototrace.photos.splits import Split

from .conftest import MakeRun

KEY = bytes(range(32))
CHOICE = {
    "name": "toy",
    "split": {"by": "photo", "test_devices": ["Make C / 7"]},
    "network": {"backbone": "toy", "patch_size": 64},
    "legs": {"manipulation": {"task": "manipulation", "batch_size": 16}},
    "training": {"epochs": 1, "optimizer": "adamw", "precision": "float32"},
}


def toy(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "output": nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(32, classes)),
    }


@pytest.fixture(scope="module")
def leaking(photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The photos with copies of some, resaved, under a camera that tests."""
    root = tmp_path_factory.mktemp("leaking")
    records = [replace(p, path=str(photos.path_of(p))) for p in photos.photos]
    part = prepare(Recipe.parse({**CHOICE, "split": {"by": "photo"}}), photos).split.part
    trained = [p for p in photos.photos if part[p.id] == "train"]
    for number, photo in enumerate(trained[:2]):
        path = root / f"copy-{number}.jpg"
        with Image.open(photos.path_of(photo)) as image:
            image.save(path, quality=80)
        sha256 = sha256_of(path)
        records.append(replace(
            photo, id=sha256[:16], path=str(path), sha256=sha256,
            model="C", device="7", scene="",
        ))  # fmt: skip
    return Manifest(tuple(records), root)


@pytest.fixture
def split(leaking: Manifest) -> Split:
    return prepare(Recipe.parse(CHOICE), leaking).split


def test_a_training_refuses_leaks_and_says_which(leaking: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"leaks \(2 resaved\).*copy-0\.jpg.*--allow-leaks"):
        train_recipe(Recipe.parse(CHOICE), leaking, tmp_path, backbone=toy)
    assert not (tmp_path / "toy").exists()
    run = train_recipe(Recipe.parse(CHOICE), leaking, tmp_path, backbone=toy, allow_leaks=True)
    assert [leak["kind"] for leak in run.provenance["leaks"]] == ["resaved"] * 2
    assert run.provenance["leaks"][0]["parts"] == ["train", "test"]


def test_a_clean_run_says_that_it_is(photos: Manifest, tmp_path: Path) -> None:
    choice = {**CHOICE, "split": {"by": "photo"}}
    run = train_recipe(Recipe.parse(choice), photos, tmp_path, backbone=toy)
    assert run.provenance["leaks"] == []


def test_the_same_photos_and_split_are_looked_at_once(
    leaking: Manifest, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def counted(*arguments: object, **more: object) -> object:
        looked.append("")
        return audit(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "audit", counted)
    first = check_leaks(leaking, split, tmp_path, allowed=True)
    assert check_leaks(leaking, split, tmp_path, allowed=True) == first
    assert len(looked) == 1
    check_leaks(leaking, replace(split, by="scene"), tmp_path, allowed=True)
    assert len(looked) == 2
    for kept in tmp_path.glob("leaks-*.json"):
        kept.write_text('{"leaks": [{"kind": "x"}]}')
    assert check_leaks(leaking, split, tmp_path, allowed=True) == first
    assert len(looked) == 3


def test_photos_that_cannot_be_read_are_passed_over(
    leaking: Manifest, split: Split, tmp_path: Path
) -> None:
    photos = list(leaking.photos)
    photos[-1] = replace(photos[-1], path=str(tmp_path / "gone.jpg"))
    manifest = replace(leaking, photos=tuple(photos))
    (leak,) = check_leaks(manifest, split, tmp_path, allowed=True)
    assert "copy-0.jpg" in leak.text
    hashed = tuple(replace(p, extra={"phash": "0" * 16}) for p in photos)
    check_leaks(replace(leaking, photos=hashed), split, tmp_path, allowed=True)
    with pytest.raises(PhotoError, match="gone"):
        audit(manifest, split)


def test_what_trained_a_trunk_must_not_test(photos: Manifest, make_run: MakeRun) -> None:
    part = {p.id: "test" if p.device == "1" else "train" for p in photos.photos}
    split = Split("device and scene", 0, part, {}, "")
    tests = [p for p in photos.photos if part[p.id] == "test"]
    empty = make_run()
    parts = {tests[0].sha256: "validation", tests[1].sha256: "test"}
    trunk = replace(empty, split={**empty.split, "part": parts})
    assert [(k.kind, k.a) for k in trunk_leaks(photos, split, trunk)] == [
        ("same file", tests[0].path)
    ]
    met = [replace(tests[0], model="A", device="1"), replace(tests[0], scene="scene 0")]
    device = replace(empty, trained=remember([replace(p, sha256="0" * 64) for p in met], KEY))
    found = trunk_leaks(photos, split, device)
    assert {leak.kind for leak in found} == {"same device", "same scene"}
    assert trunk_leaks(photos, replace(split, by="photo"), device) == []
    with pytest.raises(UsageError, match="1 same file"):
        check_leaks(photos, replace(split, by="photo"), photos.root / "stores", trunk=trunk)


def test_the_command_trains_on_leaks_only_when_told(
    leaking: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    leaking.save(tmp_path / "m.csv")
    recipe = Recipe.parse({**CHOICE, "network": {"patch_size": 64}})
    (tmp_path / "toy.toml").write_text(recipe.to_toml())
    command = ["phototrace", "train", str(tmp_path / "toy.toml"), "--json",
               "--photos", str(tmp_path / "m.csv"), "--out", str(tmp_path / "runs")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "The split leaks (2 resaved)" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*command, "--allow-leaks"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["epoch"] == 1
