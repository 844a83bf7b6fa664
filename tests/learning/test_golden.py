"""MISLnet, stage by stage, against its definition written out in numpy and plain convolutions.

Weights and patches come from numpy's seeded generator. `data/mislnet.json` holds what the
definition gave when it was written, so that code and definition cannot drift together.
"""

import json
from collections.abc import Callable
from math import ceil, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F  # noqa: N812

from literal import one_by_one
from phototrace.learning.fast import run
from phototrace.learning.network import PRESETS, mislnet

Array = NDArray[np.float64]
Weights = dict[str, Array]
Way = Callable[[list[nn.Module], torch.Tensor], torch.Tensor]
GOLDEN = json.loads((Path(__file__).parent / "data/mislnet.json").read_text(encoding="utf-8"))
CONVOLUTIONS = {  # outputs, inputs, kernel, stride, padding, and what pooling takes of a window
    "conv1": (96, 3, 7, 2, 3, np.max),
    "conv2": (64, 96, 5, 1, 2, np.max),
    "conv3": (64, 64, 5, 1, 2, np.max),
    "conv4": (128, 64, 1, 1, 0, np.mean),
}
FC1_INPUTS = {64: 128, 256: 6272}


def weights(size: int) -> Weights:
    """Weights for patches of `size` px by the names of our layers: stage, number, what it is."""
    rng = np.random.default_rng(size)

    def uniform(*shape: int) -> Array:
        return rng.uniform(-1, 1, shape) * sqrt(3 / prod(shape[1:]))

    kernels = rng.uniform(0, 1, (3, 1, 5, 5))
    kernels[..., 2, 2] = 0
    kernels /= kernels.sum(axis=(2, 3), keepdims=True)
    kernels[..., 2, 2] = -1
    made = {"constr.weight": kernels}
    for name, (outputs, inputs, kernel, *_) in CONVOLUTIONS.items():
        spread = 75.0 if name == "conv1" else 0.8  # near what comes in, or tanh says all alike
        made |= {
            f"{name}.0.weight": uniform(outputs, inputs, kernel, kernel),
            f"{name}.0.bias": rng.normal(0, 0.3, outputs),
            f"{name}.1.weight": rng.uniform(0.5, 1.5, outputs),
            f"{name}.1.bias": rng.normal(0, 0.3, outputs),
            f"{name}.1.running_mean": rng.normal(0, 0.3, outputs) * spread,
            f"{name}.1.running_var": rng.uniform(0.5, 1.5, outputs) * spread**2,
        }
    for name, shape in (("fc1.1", (200, FC1_INPUTS[size])), ("fc2.0", (200, 200)),
                        ("output", (6, 200))):  # fmt: skip
        made |= {
            f"{name}.weight": 1.5 * uniform(*shape),
            f"{name}.bias": rng.normal(0, 0.3, shape[0]),
        }
    return made


def patches(size: int) -> Array:
    return np.random.default_rng(size + 1).integers(0, 256, (2, 1, size, size)).astype(np.float64)


def convolved(x: Array, w: Weights, name: str, stride: int = 1, padding: int = 0) -> Array:
    kernels, bias = torch.from_numpy(w[f"{name}.weight"]), w.get(f"{name}.bias")
    given = None if bias is None else torch.from_numpy(bias)
    found = F.conv2d(torch.from_numpy(x), kernels, given, stride=stride, padding=padding)
    return np.asarray(found.numpy(), dtype=np.float64)


def pooled(x: Array, take: Any) -> Array:
    """Windows of 3 x 3, 2 apart, as many as it takes to reach the last row and column.

    One that reaches beyond the border takes the maximum or mean of the values that are there, as
    in Caffe and in PyTorch with `ceil_mode` and without padding. (At the patch sizes that are
    allowed, multiples of 32, only conv1's windows do.)
    """
    starts = [2 * k for k in range(ceil((x.shape[-1] - 3) / 2) + 1)]
    rows = [[take(x[..., i : i + 3, j : j + 3], axis=(2, 3)) for j in starts] for i in starts]
    return np.moveaxis(np.array(rows), (0, 1), (2, 3))


def defined(x: Array, w: Weights) -> dict[str, Array]:
    """The output of every stage, in float64."""
    x = convolved(x, w, "constr")
    found = {"constr": x}
    for name, (*_, stride, padding, take) in CONVOLUTIONS.items():
        x = convolved(x, w, f"{name}.0", stride=stride, padding=padding)
        gain, shift, mean, variance = (
            w[f"{name}.1.{key}"][:, None, None]
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        x = np.tanh(gain * (x - mean) / np.sqrt(variance + 1e-5) + shift)
        found[name] = x = pooled(x, take)
    x = x.reshape(len(x), -1)
    for name, layer in (("fc1", "fc1.1"), ("fc2", "fc2.0"), ("output", "output")):
        x = x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]
        found[name] = x = x if name == "output" else np.tanh(x)
    return found


def ours(x: Array, w: Weights, preset: str, way: Way) -> dict[str, Array]:
    """The output of every stage of our network, in float32 and eval mode."""
    given = torch.from_numpy(x).float()
    found, stages = {}, mislnet(x.shape[-1], 1, 6, preset)
    for number, (name, stage) in enumerate(stages.items()):
        own = {k.removeprefix(f"{name}."): v for k, v in w.items() if k.startswith(f"{name}.")}
        state = {key: torch.from_numpy(value) for key, value in own.items()}
        lacking, unknown = stage.load_state_dict(state, strict=False)
        assert not unknown
        assert set(lacking) <= {"1.num_batches_tracked"}
        stage.eval()
        with torch.no_grad():
            result = way(list(stages.values())[: number + 1], given)
        found[name] = result.numpy().astype(np.float64)
    return found


@pytest.mark.parametrize("way", [one_by_one, run])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [64, 256])
def test_every_stage_gives_what_the_definition_says(size: int, preset: str, way: Way) -> None:
    x, w = patches(size), weights(size)
    expected, found = defined(x, w), ours(x, w, preset, way)
    assert list(found) == list(expected) == list(GOLDEN[str(size)])
    for name, value in expected.items():
        # Constrained kernels see grey levels, all else numbers about 1.
        tolerance = 1e-3 if name == "constr" else 1e-4
        assert found[name].shape == value.shape
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)
        assert value.std() > 0.1  # tanh is not saturated: another function would give other values


@pytest.mark.parametrize("size", [64, 256])
def test_the_definition_gives_what_it_once_gave(size: int) -> None:
    for name, value in defined(patches(size), weights(size)).items():
        golden = GOLDEN[str(size)][name]
        assert value.ravel()[:5] == pytest.approx(golden["first"], abs=1e-5), name
        assert value.mean() == pytest.approx(golden["mean"], abs=1e-5), name


@pytest.mark.parametrize("preset", PRESETS)
def test_average_pooling_counts_only_what_is_there(preset: str) -> None:
    """At a border that patches of an allowed size do not have."""
    pool = mislnet(64, 1, 6, preset)["conv4"][-1]  # type: ignore[index]
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6))
    assert pool(torch.from_numpy(x)).numpy() == pytest.approx(pooled(x, np.mean))
    assert pooled(x, np.mean)[0, 0, 2, 2] == pytest.approx(x[0, 0, 4:, 4:].mean())


@pytest.mark.parametrize("preset", PRESETS)
def test_every_stage_is_made_of_the_papers_layers(preset: str) -> None:
    norm = "CorrectedBatchNorm2d" if preset == "caffe" else "BatchNorm2d"
    stages = mislnet(256, 1, 6, preset)
    layers = {
        name: [type(m).__name__ for m in stage.modules() if not list(m.children())]
        for name, stage in stages.items()
    }
    assert layers == {
        "constr": ["ConstrainedConv2d"],
        **{f"conv{k}": ["Conv2d", norm, "Tanh", "MaxPool2d"] for k in (1, 2, 3)},
        "conv4": ["Conv2d", norm, "Tanh", "AvgPool2d"],
        "fc1": ["Flatten", "Linear", "Tanh"],
        "fc2": ["Linear", "Tanh"],
        "output": ["Linear"],
    }
