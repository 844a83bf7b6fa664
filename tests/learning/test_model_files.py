"""A model saved, loaded, and refused where damaged."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from phototrace.errors import DamagedError, UsageError
from phototrace.files import write_contents
from phototrace.learning.model import Model
from phototrace.learning.model_files import hash_in
from phototrace.learning.run import Run
from phototrace.learning.tasks import Task

from .conftest import BOTH, CAMERAS, MakeRun, made, tiny

Patches = NDArray[np.uint8]


def test_saved_and_loaded_it_is_the_same(patches: Patches, tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path / "saved")
    loaded = Model.load(str(tmp_path / "saved"), backbone=tiny)
    assert loaded.config == model.config
    assert (loaded.name, loaded.tasks) == ("both", BOTH.tasks)
    assert loaded.hash == model.hash == hash_in(tmp_path / "saved")
    for leg in ("which", "how"):
        np.testing.assert_array_equal(loaded.predict(patches, leg), model.predict(patches, leg))
    loaded.save(tmp_path / "again")
    names = {path.name for path in (tmp_path / "saved").iterdir()} - {".lock"}
    assert names == {"model.json", "weights.safetensors", "contents.json"}
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    with pytest.raises(UsageError, match="in use"):
        made(seed=1).save(tmp_path / "saved")
    assert hash_in(tmp_path / "saved") == model.hash


def test_a_run_is_a_model_wherever_it_lies(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    model = Model.load(run.folder, backbone=tiny)
    assert run.hash == model.hash == run.model(backbone=tiny).hash
    model.save(tmp_path / "elsewhere" / "model")
    assert Model.load(tmp_path / "elsewhere/model", backbone=tiny).hash == run.hash
    with pytest.raises(UsageError, match="is a model without the record of its training"):
        Run.load(tmp_path / "elsewhere/model")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no model"):
        Model.load(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="is not a finished model"):
        Model.load(tmp_path / "other")
    write_contents(tmp_path / "other", [])
    with pytest.raises(UsageError, match="is not a finished model"):
        Model.load(tmp_path / "other")
    made().save(tmp_path / "model")
    with pytest.raises(UsageError, match="backbone 'tiny', which is none of mislnet"):
        Model.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_changed_file_is_noticed(tmp_path: Path, name: str) -> None:
    made().save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[-3] ^= 1
    (tmp_path / name).write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=rf"{name} has changed"):
        Model.load(tmp_path, backbone=tiny)


def not_a_number(weights: dict[str, torch.Tensor]) -> None:
    weights["heads.camera.output.weight"][1, 3] = float("nan")


def infinite(weights: dict[str, torch.Tensor]) -> None:
    weights["trunk.conv1.1.running_var"][0] = float("inf")


def off_the_sum(weights: dict[str, torch.Tensor]) -> None:
    weights["trunk.constr.weight"][1, 0, 0, 0] += 1e-3


def off_the_middle(weights: dict[str, torch.Tensor]) -> None:
    weights["trunk.constr.weight"][0, 0, 1, 1] += 1e-3


def of_another_shape(weights: dict[str, torch.Tensor]) -> None:
    weights["heads.camera.output.bias"] = torch.zeros(3)


def lacking(weights: dict[str, torch.Tensor]) -> None:
    del weights["trunk.conv1.0.weight"]


def more(weights: dict[str, torch.Tensor]) -> None:
    weights["trunk.conv9.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [(not_a_number, r"heads\.camera\.output\.weight of .* is not finite"),
     (infinite, r"running_var of .* is not finite"),
     (off_the_sum, "breaks the constraint of Eq. 4"),
     (off_the_middle, "breaks the constraint of Eq. 4"),
     (of_another_shape, "do not fit the network"), (lacking, "do not fit the network"),
     (more, "do not fit the network")],
)  # fmt: skip
def test_weights_that_cannot_be_right_are_refused(
    make_run: MakeRun, change: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    """Though their hash is the one that `contents.json` names."""
    run = make_run()
    weights = load((run.folder / "weights.safetensors").read_bytes())
    change(weights)
    (run.folder / "weights.safetensors").write_bytes(save(weights))
    relist(run.folder)
    with pytest.raises(DamagedError, match=words):
        Model.load(run.folder, backbone=tiny)
    with pytest.raises(DamagedError, match=words):
        Run.load(run.folder).model(backbone=tiny)


def test_a_network_that_cannot_be_right_is_not_saved(tmp_path: Path) -> None:
    model = made()
    with torch.no_grad():
        next(iter(model.network.heads["how"].parameters())).fill_(float("nan"))
    with pytest.raises(DamagedError, match="is not finite"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model/contents.json").exists()


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    made().save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    relist(tmp_path)
    with pytest.raises(DamagedError, match="do not fit the network"):
        Model.load(tmp_path, backbone=tiny)


def relist(folder: Path) -> None:
    """Give `contents.json` the hashes of the files as they are now."""
    listed = json.loads((folder / "contents.json").read_text())["files"]
    write_contents(folder, list(listed))


WHICH: dict[str, Any] = Task("camera", ("A", "B")).facts()
CHANGES: dict[str, dict[str, Any]] = {
    "an unknown version": {"version": 99},
    "a version in words": {"version": "one"},
    "an unknown precision": {"precision": "float16"},
    "a precision that is a list": {"precision": ["float32"]},
    "unknown channels": {"channels": "infrared"},
    "channels that are a list": {"channels": ["green"]},
    "a patch size in words": {"patch_size": "64"},
    "a patch size that is no whole number": {"patch_size": 64.5},
    "no task": {"tasks": {}},
    "tasks that are a list": {"tasks": [WHICH]},
    "a task that is a number": {"tasks": {"which": 3}},
    "a class twice": {"tasks": {"which": {**WHICH, "classes": ["A", "A"]}}},
    "one class": {"tasks": {"which": {**WHICH, "classes": ["A"]}}},
    "classes in one word": {"tasks": {"which": {**WHICH, "classes": "AB"}}},
    "a patch size that no block has": {"patch_size": 10},
    "a patch size below nothing": {"patch_size": -64},
    "a backbone that is a list": {"backbone": ["tiny"]},
    "a preset that is a number": {"preset": 1},
    "a share depth that is a number": {"share_depth": 1},
    "a name that is a number": {"name": 1},
    "training data in words": {"trained_on": "photos"},
    "something unknown": {"colour": "red"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_config_that_makes_no_sense_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    made().save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    rewrite(tmp_path, {**facts, **change})
    with pytest.raises(DamagedError, match=r"model\.json (is of version|cannot|describes)"):
        Model.load(tmp_path, backbone=tiny)


@pytest.mark.parametrize("name", ["", "a.b", "train", "keys"])
def test_a_leg_of_a_name_that_torch_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"A leg cannot be called '{re.escape(name)}'"):
        made(replace(BOTH, tasks={name: CAMERAS}))


KEYS = ["version", *vars(BOTH)]


@pytest.mark.parametrize("key", KEYS)
def test_a_config_that_lacks_something_is_refused(key: str, tmp_path: Path) -> None:
    made().save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert sorted(facts) == sorted(KEYS)
    rewrite(tmp_path, {k: v for k, v in facts.items() if k != key})
    with pytest.raises(DamagedError, match=r"model\.json cannot be read"):
        Model.load(tmp_path, backbone=tiny)


@pytest.mark.parametrize("text", ["", "[]", "null", '"model"', "{", "[" * 100_000])
def test_a_config_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    made().save(tmp_path)
    (tmp_path / "model.json").write_text(text)
    relist(tmp_path)
    with pytest.raises(DamagedError, match=r"model\.json cannot be read"):
        Model.load(tmp_path, backbone=tiny)


def rewrite(folder: Path, facts: object) -> None:
    (folder / "model.json").write_text(json.dumps(facts))
    relist(folder)
