"""A trunk that stays as it is to the last bit, and what is trained above it."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from phototrace.errors import DamagedError, UsageError
from phototrace.learning import preparing, training, trunk_output
from phototrace.learning.accelerator import accelerator
from phototrace.learning.constrained import ConstrainedConv2d
from phototrace.learning.leaks import trunk_leaks
from phototrace.learning.network import Network, Stages
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.learning.training import train_recipe
from phototrace.learning.transfer import check_trunk, load_trunk, with_trained
from phototrace.patches.building import build_store
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.remembered import remember

# The share depth decides what is taken over; in `mixed` a constrained stage lies above it too.
DEPTHS = ["residual", "conv", "dense"]


def mixed(patch_size: int, channels: int, classes: int, preset: str) -> Stages:
    """Batch norm in the trunk and, at the lower depths, in the head."""
    return {
        "residual": ConstrainedConv2d(channels, 2, 3),
        "conv": nn.Sequential(nn.Conv2d(2, 6, 3, stride=8), nn.BatchNorm2d(6), nn.ReLU()),
        "dense": nn.Sequential(nn.Flatten(), nn.Linear(384, 12), nn.BatchNorm1d(12), nn.Tanh()),
        "output": nn.Linear(12, classes),
    }


def recipe(name: str, **more: Any) -> Recipe:
    data: dict[str, Any] = {
        "name": name,
        "split": {"validation": 0.15, "test": 0.25},
        "network": {"backbone": "mixed", "patch_size": 64, **more.get("network", {})},
        "legs": more.get("legs", {"camera": {"task": "camera", "batch_size": 16}}),
        "training": {
            "epochs": 3, "learning_rate": 5e-3, "precision": "float32", "weight_decay": 5e-4,
            **more.get("training", {}),
        },
    }  # fmt: skip
    return Recipe.parse({**data, **more.get("top", {})})


def transfer(name: str, depth: str, **training_choice: object) -> Recipe:
    return recipe(name, network={"share_depth": depth}, training=training_choice)


SOURCE = recipe(
    "source",
    legs={"manipulation": {"task": "manipulation", "batch_size": 32}},
    training={"epochs": 1},
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def source(photos: Manifest, out: Path) -> Run:
    return train_recipe(SOURCE, photos, out, backbone=mixed)


def state(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.model(backbone=mixed).network.state_dict())


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("gigabytes", [8, 0], ids=["stored", "run each epoch"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_trunk_stays_to_the_last_bit_and_the_head_is_new(
    photos: Manifest, source: Run, out: Path, depth: str, gigabytes: float
) -> None:
    choice = transfer(f"{depth}-{gigabytes}", depth, trunk_store_gb=gigabytes)
    run = train_recipe(choice, photos, out, backbone=mixed, trunk=source)
    theirs, ours = source.model(backbone=mixed).network, run.model(backbone=mixed).network
    assert list(ours.trunk) == list(theirs.trunk)[: DEPTHS.index(depth) + 1]
    for name, stage in ours.trunk.items():
        assert same(stage.state_dict(), theirs.trunk[name].state_dict())
    new = {k: v for k, v in ours.heads["camera"].state_dict().items() if k.endswith("weight")}
    old = theirs.trunk.state_dict()
    assert not any(torch.equal(new[key], old[key]) for key in new.keys() & old.keys())
    rows = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert run.provenance["trunk"]["hash"] == source.hash
    assert (run.provenance["trunk"]["stored"] is None) == (gigabytes == 0)
    assert run.config.share_depth == depth


@pytest.mark.parametrize("depth", DEPTHS)
def test_both_ways_give_the_same_head_within_rounding(
    photos: Manifest, source: Run, out: Path, depth: str
) -> None:
    stored, repeated = (
        train_recipe(
            transfer(f"{depth}-{gigabytes}", depth, trunk_store_gb=gigabytes),
            photos, out, backbone=mixed, trunk=source,
        )
        for gigabytes in (8, 0)
    )  # fmt: skip
    first, second = state(stored), state(repeated)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=1e-4, atol=1e-5), name


def test_the_run_is_enough_by_itself(
    photos: Manifest, out: Path, source: Run, tmp_path: Path
) -> None:
    run = train_recipe(transfer("dense-8", "dense"), photos, out, backbone=mixed, trunk=source)
    shutil.copytree(run.folder, tmp_path / "alone")
    model = Run.load(tmp_path / "alone").model(backbone=mixed)
    assert model.predict_proba(np.zeros((2, 64, 64), np.uint8)).shape == (2, 2)


def test_what_is_stored_is_the_trunks_output_row_by_row(
    photos: Manifest, source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk_output, "SHARD_BYTES", 40_000)
    store = build_store(prepare(transfer("t", "conv"), photos).plans["camera"], tmp_path / "store")
    network = source.model(backbone=mixed).network
    network.trunk = nn.ModuleDict({n: network.trunk[n] for n in ("residual", "conv")})
    machine = accelerator("float32")

    def output() -> trunk_output.TrunkOutput:
        names = {"trunk": source.hash, "depth": "conv"}
        found = trunk_output.store_trunk_output(network, store, names, tmp_path, machine, 8)
        assert found is not None
        return found

    made = output()
    shards = sorted(made.folder.glob("trunk-*.npy"))
    assert len(shards) > 2
    rows = np.random.default_rng(0).permutation(len(store))[:50]
    with torch.inference_mode():
        expected = network.shared(torch.from_numpy(store.read(rows)).unsqueeze(1).float())
    assert np.allclose(made.read(rows), expected.numpy(), rtol=1e-4, atol=1e-4)

    # A build that was cut off keeps its shards and makes the others, the same to the bit.
    before, kept = made.hash, shards[0].stat().st_mtime_ns
    (made.folder / "contents.json").unlink()
    shards[1].unlink()
    assert output().hash == before
    assert shards[0].stat().st_mtime_ns == kept

    data = bytearray(shards[1].read_bytes())
    data[-1] ^= 1
    shards[1].write_bytes(data)
    with pytest.raises(DamagedError, match=shards[1].name):
        output()


def test_what_was_chosen_is_said(
    photos: Manifest, source: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def said(name: str, gigabytes: float) -> str:
        choice = transfer(name, "dense", trunk_store_gb=gigabytes, epochs=1)
        caplog.clear()
        train_recipe(choice, photos, tmp_path, backbone=mixed, trunk=source)
        return caplog.text

    assert "more than trunk_store_gb = 1e-06: the trunk runs every epoch" in said("a", 1e-6)
    full = shutil.disk_usage(tmp_path)._replace(free=10**9)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        assert "the disk has room for: the trunk runs every epoch" in said("b", 8)
    assert "stored once, and only the head is trained" in said("c", 8)
    assert "stored already" in said("d", 8)


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("gigabytes", [8, 0], ids=["stored", "run each epoch"])
def test_resume_is_bit_equal(
    photos: Manifest, source: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    gigabytes: float,
) -> None:  # fmt: skip
    choice = transfer("cut", "conv", trunk_store_gb=gigabytes)
    whole = train_recipe(choice, photos, tmp_path / "whole", backbone=mixed, trunk=source)
    real: Callable[..., None] = training.step

    def cut_off(*arguments: Any) -> None:
        real(*arguments)
        if arguments[4].step > 13:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(training, "step", cut_off)
        with pytest.raises(CutOffError):
            train_recipe(choice, photos, tmp_path / "cut", backbone=mixed, trunk=source)
    for folder in (tmp_path / "cut" / "stores").glob("trunk-*"):
        shutil.rmtree(folder)  # made again, the same to the bit
    resumed = train_recipe(
        choice, photos, tmp_path / "cut", backbone=mixed, trunk=source, resume=True
    )
    assert same(state(whole), state(resumed))
    again = train_recipe(choice, photos, tmp_path / "cut", backbone=mixed, trunk=source)
    assert again.hash == resumed.hash


def test_photos_that_trained_the_trunk_count_as_trained(
    photos: Manifest, source: Run, tmp_path: Path
) -> None:
    """The trunk saw all photos; this transfer's own split has half of them."""
    half = replace(photos, photos=tuple(r for r in photos.photos if int(r.path[:2]) < 12))
    tests = [r for r in half.photos if source.split["part"][r.sha256] == "test"]
    choice = transfer("half", "dense", epochs=1)
    monkeyed = {r.id: source.split["part"][r.sha256] for r in half.photos}
    assert tests
    made = prepare(choice, half)
    split = replace(made.split, part=monkeyed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "make_split", lambda *_, **__: split)
        run = train_recipe(choice, half, tmp_path, backbone=mixed, trunk=source)
    used = {s for s, part in source.split["part"].items() if part in ("train", "validation")}
    assert used <= {s for s, part in run.split["part"].items() if part in ("train", "validation")}
    assert {r.sha256 for r in tests} == {s for s, p in run.split["part"].items() if p == "test"}
    assert source.trained is not None
    assert run.trained is not None
    assert run.trained.tells_devices
    assert len(run.trained) > len(source.trained)
    assert set(source.trained.scene) <= set(run.trained.scene)


@pytest.mark.parametrize(
    ("top", "how"),
    [
        ({"seed": 5}, r"\d same file\)"),
        ({"split": {"by": "device", "validation": 0.15, "test": 0.25}}, r"\d same device"),
        ({"split": {"by": "scene", "validation": 0.15, "test": 0.25}}, r"\d same scene"),
    ],
)
def test_a_test_photo_that_trained_the_trunk_is_a_leak(
    photos: Manifest, source: Run, tmp_path: Path, top: dict[str, Any], how: str
) -> None:
    choice = recipe("leak", network={"share_depth": "dense"}, top=top)
    with pytest.raises(UsageError, match=rf"split leaks.*{how}.*trunk was trained on"):
        train_recipe(choice, photos, tmp_path, backbone=mixed, trunk=source)
    assert not list((tmp_path / "stores").glob("*/"))
    run = train_recipe(choice, photos, tmp_path, backbone=mixed, trunk=source, allow_leaks=True)
    assert "the trunk was trained on" in run.provenance["leaks"][-1]["text"]
    trained = {s for s, part in source.split["part"].items() if part in ("train", "validation")}
    assert not trained & {s for s, part in run.split["part"].items() if part == "test"}


def test_a_burst_or_a_device_kept_out_that_trained_the_trunk_is_a_leak(
    photos: Manifest, source: Run
) -> None:
    """The other photo of the burst may be among these photos, or known to the trunk's run alone."""
    part = source.split["part"]
    test = next(r for r in photos.photos if part[r.sha256] == "test")
    trained = next(r for r in photos.photos if part[r.sha256] == "train")
    records = tuple(replace(r, burst="pair") if r in (test, trained) else r for r in photos.photos)
    split = prepare(transfer("t", "dense"), photos).split

    def leaks(kept: Sequence[PhotoRecord], trunk: Run, *devices: str) -> set[str]:
        found = trunk_leaks(replace(photos, photos=tuple(kept)), split, trunk, devices)
        assert {leak.a for leak in found} <= {test.path}
        return {leak.kind for leak in found}

    assert leaks(records, source) == {"same burst"}
    alone = [r for r in records if r.sha256 == test.sha256]
    assert leaks(alone, source) == set()
    assert source.trained is not None
    pair = [replace(trained, burst="pair")]
    joined = replace(source, trained=source.trained.join(remember(pair, source.trained.key)))
    assert leaks(alone, joined) == {"same burst"}
    assert leaks(alone, source, test.device_id) == {"same device"}


def test_trunk_from_starts_beside_the_recipe(source: Run, tmp_path: Path) -> None:
    named = recipe("t", network={"share_depth": "dense", "trunk_from": "runs/source"})
    (tmp_path / "runs").mkdir()
    with pytest.raises(UsageError, match=r"no run .*runs/source"):
        load_trunk(named, tmp_path)
    shutil.copytree(source.folder, tmp_path / "runs/source")
    found = load_trunk(named, tmp_path)
    assert found is not None
    assert found.hash == source.hash
    weights = tmp_path / "runs/source/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="weights"):
        load_trunk(named, tmp_path)
    assert load_trunk(transfer("t", "dense"), tmp_path) is None


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"share_depth": "dence"}, "Did you mean 'dense'"),
        ({"share_depth": "output"}, "no share depth 'output'"),
        ({"share_depth": "dense", "patch_size": 96}, "patch_size = 64"),
        ({"share_depth": "dense", "channels": "rgb"}, "channels = 'green'"),
        ({"share_depth": "fc1", "backbone": "mislnet"}, "backbone = 'mixed'"),
        ({}, "a transfer has one leg and a share_depth"),
    ],
)
def test_a_trunk_that_does_not_fit_is_refused_before_anything_is_made(
    photos: Manifest, source: Run, tmp_path: Path, network: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train_recipe(recipe("t", network=network), photos, tmp_path, backbone=mixed, trunk=source)
    assert not (tmp_path / "stores").exists()


def test_a_share_depth_needs_something_to_share_with(photos: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one leg and no trunk"):
        train_recipe(transfer("t", "dense"), photos, tmp_path, backbone=mixed)


def test_a_trunk_ends_where_its_legs_part(photos: Manifest, out: Path, tmp_path: Path) -> None:
    legs = {name: {"task": name, "batch_size": 16} for name in ("manipulation", "camera")}
    both = recipe("both", network={"share_depth": "conv"}, legs=legs, training={"epochs": 1})
    hybrid = train_recipe(both, photos, tmp_path, backbone=mixed)
    run = train_recipe(
        transfer("t", "conv", epochs=1), photos, tmp_path, backbone=mixed, trunk=hybrid
    )
    assert isinstance(run.model(backbone=mixed).network, Network)
    with pytest.raises(UsageError, match="share their stages up to 'conv' only"):
        train_recipe(transfer("u", "dense"), photos, tmp_path, backbone=mixed, trunk=hybrid)


def test_two_legs_take_no_trunk(source: Run) -> None:
    legs = {name: {"task": name, "batch_size": 16} for name in ("manipulation", "camera")}
    both = recipe("both", network={"share_depth": "conv"}, legs=legs)
    with pytest.raises(UsageError, match="a transfer has one leg and a share_depth"):
        check_trunk(both, source)
    check_trunk(transfer("t", "conv"), source)


def test_facts_of_a_split_count_what_trained_the_trunk(source: Run) -> None:
    """Its training and validation photos come before the new parts; its test photos do not."""
    ours = {
        "hash": "ours", "part": {"a": "test", "b": "test", "c": "train", "d": "validation"},
    }  # fmt: skip
    theirs = {
        "hash": "theirs", "part": {"a": "train", "b": "test", "d": "train", "e": "validation",
                                   "f": "test"},
    }  # fmt: skip
    assert with_trained(ours, replace(source, split=theirs)) == {
        "hash": "ours",
        "part": {"a": "train", "b": "test", "c": "train", "d": "train", "e": "validation"},
    }
    assert with_trained(ours, None) == ours
