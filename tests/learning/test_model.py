"""A model says what its network says, and its hash names what it computes."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.learning.detector import Detector
from phototrace.learning.features import FeatureExtractor
from phototrace.learning.model import Model
from phototrace.learning.trees import ExtraTrees

from .conftest import BOTH, CAMERAS, QUALITY, MakeRun, made, tiny

Patches = NDArray[np.uint8]


def scores(model: Model, patches: Patches, leg: str) -> torch.Tensor:
    """Of a leg, stage by stage and one patch at a time."""
    network = model.network
    stages = [*network.trunk.children(), *network.heads[leg].children()]
    found = []
    with torch.no_grad():
        for patch in patches:
            x = torch.from_numpy(patch).float()[None, None]
            for stage in stages:
                x = stage(x)
            found.append(x[0])
    return torch.stack(found)


def test_its_answers_are_the_networks(patches: Patches) -> None:
    """Of 120 patches: more than go through at once."""
    model = made(seed=2)
    chances = torch.softmax(scores(model, patches, "which"), dim=1).numpy()
    found = model.predict_proba(patches, "which")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, chances, atol=1e-5)
    assert len(set(found.argmax(axis=1))) == 2
    named = np.array(["A", "B"])[chances.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(patches, "which"), named)
    numbers = 72.5 + 22.5 * scores(model, patches, "how")[:, 0].numpy()
    answers = model.predict(patches, "how")
    assert answers.dtype == np.float64
    np.testing.assert_allclose(answers, numbers.clip(50, 95), atol=1e-3)


def test_its_features_are_a_stages_output(patches: Patches) -> None:
    model = made()
    trunk = model.network.trunk
    with torch.no_grad():
        x = torch.from_numpy(patches).float()[:, None]
        expected = trunk["conv1"](trunk["constr"](x)).flatten(1).numpy()
    found = model.features(patches, stage="conv1")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert model.width("conv1") == 48
    one, other = (model.features(patches, leg=leg) for leg in ("which", "how"))
    assert one.shape == other.shape == (120, 12)
    assert not np.allclose(one, other)


def test_no_patches_have_no_answers(patches: Patches) -> None:
    model = made()
    assert model.predict_proba(patches[:0], "which").shape == (0, 2)
    assert model.predict(patches[:0], "which").shape == (0,)
    assert model.predict(patches[:0], "how").shape == (0,)
    assert model.features(patches[:0], stage="conv1").shape == (0, 48)


def test_the_task_is_named_where_there_are_several(patches: Patches) -> None:
    model = made()
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(UsageError, match=r"Name the task: choose among which, how\."):
            ask(patches)
        with pytest.raises(UsageError, match=r"no task 'camera' in both: .* which, how\."):
            ask(patches, "camera")
    with pytest.raises(UsageError, match="task 'how' has a number, no classes"):
        model.predict_proba(patches, "how")
    alone = made(replace(BOTH, tasks={"which": CAMERAS}))
    expected = alone.predict_proba(patches, "which")
    np.testing.assert_array_equal(alone.predict_proba(patches), expected)


def test_patches_of_another_form_are_refused(patches: Patches) -> None:
    colour = replace(BOTH, channels="rgb")
    three = np.stack([patches] * 3, axis=-1)
    for config, wrong, form in (
        (BOTH, patches[:, :32], "n, 64, 64"), (BOTH, patches.astype(int), "n, 64, 64"),
        (BOTH, patches[0], "n, 64, 64"), (BOTH, three, "n, 64, 64"),
        (colour, patches, "n, 64, 64, 3"), (colour, three[..., :2], "n, 64, 64, 3"),
    ):  # fmt: skip
        model = made(config)
        asks: list[Callable[[], object]] = [
            lambda m=model, x=wrong: m.predict(x, "which"),  # type: ignore[misc]
            lambda m=model, x=wrong: m.predict_proba(x, "which"),  # type: ignore[misc]
            lambda m=model, x=wrong: m.features(x, stage="conv1"),  # type: ignore[misc]
        ]
        for ask in asks:
            with pytest.raises(UsageError, match=re.escape(f"takes patches ({form}) uint8")):
                ask()
    assert made(colour).predict(three, "which").shape == (120,)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(make_run: MakeRun, patches: Patches) -> None:
    model = make_run().model(device="cuda", backbone=tiny)
    with pytest.raises(UsageError, match="no CUDA device here"):
        model.predict(patches)


def test_the_hash_is_of_what_it_computes() -> None:
    first = made().hash
    assert made(replace(BOTH, name="other")).hash == first
    assert made(replace(BOTH, trained_on={})).hash == first
    with torch.no_grad():
        moved = made()
        next(iter(moved.network.heads["how"].parameters())).add_(1e-6)
    others = [
        made(seed=1), moved,
        made(replace(BOTH, precision="bfloat16")),
        made(replace(BOTH, share_depth="constr")),
        made(replace(BOTH, tasks={"which": CAMERAS, "else": QUALITY})),
        made(replace(BOTH, tasks={"which": replace(CAMERAS, classes=("B", "A")),
                                    "how": QUALITY})),
        made(replace(BOTH, tasks={"which": CAMERAS, "how": replace(QUALITY, range=(50., 90.))})),
    ]  # fmt: skip
    assert len({first, *(model.hash for model in others)}) == 1 + len(others)


def test_a_bfloat16_model_rounds_and_a_float32_model_does_not(patches: Patches) -> None:
    exact, rough = made(), made(replace(BOTH, precision="bfloat16"))
    expected = exact.predict_proba(patches, "which")
    found = rough.predict_proba(patches, "which")
    assert not np.array_equal(found, expected)
    assert np.abs(found - expected).max() < 0.1


def test_runs_of_two_precisions_are_two_models(
    make_run: MakeRun, patches: Patches, tmp_path: Path
) -> None:
    """Same weights, rounded otherwise: a detector of the one refuses features of the other."""
    runs = [make_run("a"), make_run("b", precision="bfloat16")]
    weights = [(run.folder / "weights.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    assert runs[0].hash != runs[1].hash
    exact, rough = (FeatureExtractor(run.model(backbone=tiny)) for run in runs)
    assert exact.origin.precision == "float32"
    assert rough.origin.precision == "bfloat16"
    assert exact.origin.model != rough.origin.model
    labels = np.arange(120) % 2
    detector = Detector(exact, ExtraTrees(3)).fit(exact.transform(patches), labels)
    with pytest.raises(UsageError, match=r"these features are .* in bfloat16"):
        detector.predict(rough.transform(patches))
    detector.save(tmp_path / "detector")
    with pytest.raises(UsageError, match=r"in float32, but .* in bfloat16"):
        Detector.load(tmp_path / "detector", rough)
