"""What a training would take: counted, and as large as what a step does keep."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from phototrace.learning.network import Network
from phototrace.learning.outlook import kept_bytes, outlook
from phototrace.learning.preparing import prepare
from phototrace.learning.recipe import Recipe
from phototrace.photos.manifest import Manifest

LEGS = {
    "how": {"task": "manipulation", "batch_size": 32},
    "which": {"task": "camera", "batch_size": 16},
    "make": {"task": "camera", "patches_of": "which"},
}
RECIPE = Recipe.parse({
    "name": "seen",
    "network": {"patch_size": 64, "share_depth": "fc1"},
    "legs": LEGS,
    "training": {"epochs": 4},
})  # fmt: skip


def test_what_is_kept_is_what_the_modules_need_for_their_gradients() -> None:
    trunk = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh())
    network = Network(
        {"one": trunk}, {"a": {"output": nn.Linear(6, 2)}, "b": {"output": nn.Tanh()}}
    )
    # The patch, the convolution's output and tanh's; above, tanh's alone: the rest is there.
    below, above = kept_bytes(network, (1, 8, 8))
    assert below == 4 * (64 + 2 * 36 + 2 * 36)
    assert above["b"] == 4 * 2 * 36
    with torch.autocast("cpu", torch.bfloat16):
        less, _ = kept_bytes(network, (1, 8, 8))
    assert less == below / 2


def test_an_outlook_counts(photos: Manifest) -> None:
    made = prepare(RECIPE, photos)
    seen = outlook(made)
    patches = {leg: plan.total("train") for leg, plan in made.plans.items()}
    assert seen.patches == patches
    assert seen.steps == max(-(-patches["how"] // 32), -(-patches["which"] // 16))
    assert seen.parameters == sum(p.numel() for p in made.config("float32").network().parameters())
    always = 12 * seen.parameters
    half = outlook(made, 2)
    for name in ("float32", "bfloat16"):
        below = seen.memory[name] - always
        assert half.memory[name] - always == pytest.approx(below / 2)
    adamw = RECIPE.training.model_copy(update={"optimizer": "adamw"})
    other = outlook(replace(made, recipe=RECIPE.model_copy(update={"training": adamw})))
    assert other.memory["float32"] == seen.memory["float32"] + 4 * seen.parameters
    assert seen.memory["bfloat16"] < 0.7 * seen.memory["float32"]
    assert f"4 epochs of {seen.steps} steps" in seen.sentence()
