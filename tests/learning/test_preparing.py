"""What a recipe of several legs means for photos, and what is refused before any work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from phototrace.errors import DamagedError, UsageError
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.network import Stages
from phototrace.learning.preparing import passes_per_epoch, prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.photos.manifest import Manifest

MANIPULATION = {"task": "manipulation", "batch_size": 32}
CAMERA = {"task": "camera", "batch_size": 8}


def tiny(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "conv": nn.Sequential(nn.Conv2d(2, 4, 3, stride=8), nn.BatchNorm2d(4), nn.ReLU()),
        "output": nn.Sequential(nn.Flatten(), nn.Linear(256, classes)),
    }


def hybrid(**more: Any) -> Recipe:
    data = {
        "name": "hybrid",
        "split": {"validation": 0.15, "test": 0.25},
        "network": {"backbone": "tiny", "patch_size": 64, "share_depth": "conv"},
        "legs": {"a": MANIPULATION, "b": CAMERA},
        "training": {"epochs": 2, "precision": "float32"},
    }
    return Recipe.parse({**data, **more})


@pytest.fixture(scope="module")
def coloured(photos: Manifest) -> Manifest:
    """The photos with a further column, and a third camera of few photos."""
    records = [
        replace(
            r,
            model="C" if k in (0, 4, 8, 12) else r.model,
            device="0" if k in (0, 4, 8, 12) else r.device,
            extra={"colour": ("red", "blue")[k % 4 == 1]},
        )
        for k, r in enumerate(photos.photos)
    ]
    return replace(photos, photos=tuple(records))


def test_each_leg_takes_its_own_photos_under_one_split(coloured: Manifest) -> None:
    made = prepare(
        hybrid(legs={
            "all": MANIPULATION,
            "big": {**CAMERA, "min_photos": 5},
            "red": {**CAMERA, "where": {"colour": ["red"]}, "classes": ["Make C", "Make B"]},
        }),
        coloured,
    )  # fmt: skip
    assert made.tasks["big"].classes == ("Make A", "Make B")
    assert made.tasks["red"].classes == ("Make C", "Make B")
    cameras = {leg: {r.camera for r in plan.manifest.photos} for leg, plan in made.plans.items()}
    assert cameras["all"] == {"Make A", "Make B", "Make C"}
    assert cameras["big"] == {"Make A", "Make B"}
    assert {r.extra["colour"] for r in made.plans["red"].manifest.photos} == {"red"}
    for plan in made.plans.values():
        for index, part in zip(plan.photo, plan.part, strict=True):
            assert made.split.part[plan.manifest.photos[index].id] == ("train", "validation")[part]


def test_a_hybrid_run_says_what_it_shares_and_predicts_by_itself(
    photos: Manifest, tmp_path: Path
) -> None:
    legs = {"a": MANIPULATION, "b": {**CAMERA, "weight": 0.5}}
    run = Run.load(train_recipe(hybrid(legs=legs), photos, tmp_path, backbone=tiny).folder)
    assert run.config.share_depth == "conv"
    assert run.recipe.legs["b"].weight == 0.5
    passes = run.provenance["passes"]
    assert min(passes.values()) >= 1
    assert max(passes.values()) == passes["b"] > 1
    network = run.model(backbone=tiny).network
    assert list(network.trunk) == ["residual", "conv"]
    for leg, classes in (("a", 6), ("b", 2)):
        assert network({leg: torch.zeros(3, 1, 64, 64)})[leg].shape == (3, classes)
    rows = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 4


def test_the_weight_of_a_leg_changes_the_trunk(photos: Manifest, tmp_path: Path) -> None:
    def kernels(weight: float) -> torch.Tensor:
        legs = {"a": MANIPULATION, "b": {**CAMERA, "weight": weight}}
        name = f"weight-{str(weight).replace('.', '-')}"
        run = train_recipe(hybrid(name=name, legs=legs), photos, tmp_path, backbone=tiny)
        kernel: torch.Tensor = run.model(backbone=tiny).network.state_dict()["trunk.conv.0.weight"]
        return kernel

    assert not torch.allclose(kernels(1.0), kernels(0.25), atol=1e-6)


def test_passes_are_steps_times_batch_over_patches() -> None:
    paper = {"a": 400_000, "b": 400_000, "c": 50_000}
    assert set(passes_per_epoch(paper, {"a": 40, "b": 40, "c": 5}).values()) == {1.0}
    assert passes_per_epoch(paper, {"a": 40, "b": 40, "c": 40})["c"] == 8


@pytest.mark.parametrize(("batch", "said"), [(4, False), (40, True)])
def test_a_leg_that_repeats_too_often_is_pointed_out(
    photos: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture, batch: int, said: bool
) -> None:
    legs = {
        "a": {**MANIPULATION, "batch_size": 16},
        "b": {**CAMERA, "per_class": {"train": 20}, "batch_size": batch},
    }
    run = train_recipe(hybrid(legs=legs, training={"epochs": 1}), photos, tmp_path, backbone=tiny)
    passes = run.provenance["passes"]["b"]
    assert (passes > 5) == said
    assert (f"Leg 'b' shows its 40 patches {passes:.1f} times an epoch" in caplog.text) == said
    assert len(run.provenance["notes"]) == said


BAD: list[tuple[dict[str, Any], str]] = [
    ({"b": {**CAMERA, "classes": ["Make A"]}}, "'b'.*fewer than two classes"),
    ({"b": {**CAMERA, "classes": ["Make A", "Make Z"]}}, "'b'.*no class 'Make Z'"),
    ({"b": {**CAMERA, "where": {"color": ["red"]}}}, "'b'.*no column 'color'"),
    ({"b": {**CAMERA, "where": {"colour": ["green"]}}}, r"'b'.*\[legs.b\]"),
    ({"b": {**CAMERA, "min_photos": 99}}, r"'b'.*\[legs.b\]"),
    ({"b": {**CAMERA, "batch_size": 500}}, "'b' has .* fewer than its batch of 500"),
]  # fmt: skip


@pytest.mark.parametrize(("legs", "words"), BAD)
def test_a_leg_that_cannot_be_is_named_before_anything_is_made(
    coloured: Manifest, tmp_path: Path, legs: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train_recipe(hybrid(legs={"a": MANIPULATION, **legs}), coloured, tmp_path, backbone=tiny)
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_a_part_lacks_is_named(photos: Manifest, tmp_path: Path) -> None:
    """The only photo of a camera trains; a camera with two photos is in no validation part."""
    records = tuple(replace(r, model="D") if k < 2 else r for k, r in enumerate(photos.photos))
    few = replace(photos, photos=records)
    cut = hybrid(legs={"a": MANIPULATION, "b": {**CAMERA, "balance": "cut"}})
    with pytest.raises(UsageError, match=r"'b': The validation part has no photo of Make D"):
        train_recipe(cut, few, tmp_path, backbone=tiny)
    notes = prepare(hybrid(), few).notes
    assert any("'b': the validation part has no photo of 1 of its 3" in note for note in notes)


def test_a_class_without_a_test_photo_is_pointed_out(photos: Manifest) -> None:
    one_device = tuple(replace(r, device="0") if r.model == "B" else r for r in photos.photos)
    choice = hybrid(split={"by": "device", "validation": 0.15, "test": 0.25})
    made = prepare(choice, replace(photos, photos=one_device))
    assert any("'b': the test part has no photo of 1 of its 2" in note for note in made.notes)


@pytest.mark.parametrize(
    ("depth", "words"), [("conf", "mean 'conv'"), ("output", "residual, conv")]
)
def test_a_share_depth_that_is_not_there_is_named(
    photos: Manifest, tmp_path: Path, depth: str, words: str
) -> None:
    network = {"backbone": "tiny", "patch_size": 64, "share_depth": depth}
    with pytest.raises(UsageError, match=words):
        train_recipe(hybrid(network=network), photos, tmp_path, backbone=tiny)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_has_changed_is_noticed_before_training(
    photos: Manifest, tmp_path: Path
) -> None:
    train_recipe(hybrid(), photos, tmp_path, backbone=tiny)
    shard = next((tmp_path / "stores").glob("b-*/patches-00000.npy"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DamagedError, match=r"patches-00000\.npy has changed"):
        train_recipe(hybrid(name="again"), photos, tmp_path, backbone=tiny)
    assert not (tmp_path / "again" / "checkpoint").exists()


def test_a_file_under_two_cameras_trains_neither(photos: Manifest) -> None:
    first = photos.photos[0]
    other = replace(first, path="again.jpg", model="Z")
    legs = {"a": {**MANIPULATION, "batch_size": 8}}
    for records in ((*photos.photos, other), (other, *photos.photos)):
        made = prepare(hybrid(legs=legs), replace(photos, photos=records))
        assert first.sha256 not in {r.sha256 for r in made.manifest.photos}
        assert made.notes[0].startswith("2 photos are left out because the manifest lists a file")
