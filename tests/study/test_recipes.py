"""The studies that come with phototrace: what they say, and whether photos can serve them.

Of the collections there are no photos here: manifests are made from the Dresden index, or made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.learning.network import build_network, mislnet
from phototrace.learning.preparing import Experiment, patch_settings, prepare, taken, taken_by_leg
from phototrace.learning.recipe import Recipe
from phototrace.patches.plan import PatchPlan, plan_patches
from phototrace.photos.corpora import table1
from phototrace.photos.corpora.dresden import planned
from phototrace.photos.corpora.vision import DEVICES
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.recipes import recipe_path, study_path
from phototrace.study.recipe import StudyRecipe

STUDIES = sorted(path.stem for path in study_path("corpus").parent.glob("*.toml"))
PRIVATE = {
    "B": [
        "Apple iPhone 4s", "Apple iPhone 6", "LG Nexus 5x", "Samsung Gal. Note4", "Samsung Gal. S4",
    ],
    "C": ["HTC One M7", "Mot. Droid Maxx", "Samsung Galaxy S2"],
}  # fmt: skip


def study(name: str) -> StudyRecipe:
    return StudyRecipe.load(study_path(name))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_valid_and_found_by_name(name: str) -> None:
    recipe = study(name)
    assert recipe.name == name
    assert recipe.note.endswith(".")
    assert recipe.illustration == (name == "demo")
    stages = list(mislnet(recipe.network.patch_size, 1, 2))
    for depth in recipe.depths or stages[:-1]:
        build_network(mislnet, {"A": 6}, patch_size=64, share_depth=depth)
    assert recipe.tasks.A.classes == []
    for training in (recipe.training, recipe.transfer):
        assert (training.optimizer, training.schedule) in (
            ("sgd", "halving"),
            ("adamw", "one-cycle"),
        )


def test_the_studies_are_these() -> None:
    assert STUDIES == [
        "corpus", "corpus-256", "demo", "dresden18", "forchheim", "paper", "simulated-20-5",
        "simulated-20-5-256", "vision",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="corpus, corpus-256, demo, dresden18"):
        study_path("nonsense")


# The paper.


def test_the_papers_splits_and_patches() -> None:
    recipe = study("paper")
    split, network = recipe.split, recipe.network
    assert (split.by, split.validation_devices, split.validation) == ("device", False, 0.02)
    assert (network.patch_size, network.channels, network.preset) == (256, "green", "caffe")
    a, b, c = recipe.tasks.A, recipe.tasks.B, recipe.tasks.C
    assert a.photos == {"train": 7408, "test": 926}
    assert sum(a.photos.values()) == 8334  # "using 8334 images chosen at random"
    assert (a.blocks, a.editing, a.where) == ("central", ["block"], {"corpus": ["dresden"]})
    assert abs(6 * a.per_class["train"] - 400_000) < 6
    assert abs(6 * a.per_class["test"] - 50_000) < 6
    for part in ("train", "test"):  # nine blocks of each photo are as many as needed, and no more
        assert 0 <= 9 * a.photos[part] - a.per_class[part] < 9
    assert (b.blocks, c.blocks) == ("random", "random")
    assert (b.per_class["train"], b.per_class["test"]) == (20_000, 1_500)
    assert (c.per_class["train"], c.per_class["test"]) == (10_000, 10_000)
    assert b.classes == list(table1.T_B)
    assert c.classes == list(table1.T_C)


def test_the_papers_training() -> None:
    recipe = study("paper")
    for choice, rate in ((recipe.training, 1e-3), (recipe.transfer, 5e-3)):
        assert (choice.optimizer, choice.schedule, choice.halve_every) == ("sgd", "halving", 3)
        assert (choice.learning_rate, choice.momentum, choice.epochs) == (rate, 0.9, 30)
        assert (choice.weight_decay, choice.freeze_batch_norm, choice.seed) == (5e-4, 0, None)
        assert choice.precision == "float32"
    assert {leg.batch_size for leg in (recipe.tasks.A, recipe.tasks.B, recipe.tasks.C)} == {40}
    assert recipe.transfer.batch_size == 100
    assert (recipe.trees.number, recipe.trees.patches) == (800, 0)
    assert recipe.depths == []  # all seven


def test_the_papers_steps_an_epoch_meet() -> None:
    """Sec. 5.4: C's batch of 5 shows its 50,000 patches once in the 10,000 steps of the others."""
    tasks = study("paper").tasks
    steps = {
        -(-6 * tasks.A.per_class["train"] // tasks.A.batch_size),
        -(-20 * tasks.B.per_class["train"] // tasks.B.batch_size),
        -(-5 * tasks.C.per_class["train"] // 5),
    }
    assert steps == {10_000}


# What photos there are for them.


def as_recipe(name: str, manifest: Manifest) -> tuple[Recipe, dict[str, list[str]]]:
    """A study's tasks as one recipe: Table 1's names resolved, C's cameras left out of A and B."""
    chosen = study(name)
    data = chosen.model_dump(exclude_none=True)
    whole: dict[str, Any] = {k: data[k] for k in ("name", "seed", "photos", "split", "training")}
    whole |= {"network": data["network"] | {"share_depth": "fc2"}, "legs": data["tasks"]}
    photos = taken(manifest, chosen.photos)
    missing = {}
    for task in ("C", "B"):
        leg = whole["legs"][task]
        cameras = sorted(
            {p.camera for p in taken_by_leg(photos, getattr(chosen.tasks, task)).photos}
        )
        found, missing[task] = table1.resolve(leg["classes"] or cameras, cameras)
        few = whole["legs"]["C"]["classes"]
        leg["classes"] = [camera for camera in found.values() if task == "C" or camera not in few]
    for task in ("A", "B"):
        without = whole["legs"][task]["without"]
        without["camera"] = [*without.get("camera", []), *whole["legs"]["C"]["classes"]]
    return Recipe.parse(whole), missing


def plan_of_test(experiment: Experiment, task: str) -> PatchPlan:
    leg = experiment.recipe.legs[task]
    settings = patch_settings(experiment.recipe, leg, experiment.tasks[task])
    photos = taken_by_leg(experiment.manifest, leg)
    return plan_patches(photos, experiment.split, settings, parts=["test"])


def patches(experiment: Experiment, task: str) -> dict[str, int]:
    """Part -> patches of each class, all of which have as many."""
    plans = {"train": experiment.plans[task], "validation": experiment.plans[task]}
    plans["test"] = plan_of_test(experiment, task)
    counts = {part: plans[part].count(part) for part in PARTS}
    assert all(len(set(count.tolist())) == 1 for count in counts.values())
    return {part: int(count[0]) for part, count in counts.items()}


def wanted(experiment: Experiment, task: str) -> dict[str, int]:
    return {str(part): n for part, n in experiment.recipe.legs[task].per_class.items()}


def aligned(plan: PatchPlan) -> bool:
    """Whether the blocks of some photo start at its corner, as on a grid that was not drawn."""
    return bool(np.any((plan.row % 256 == 0) & (plan.column % 256 == 0)))


@pytest.fixture(scope="module")
def index(dresden_index: Path) -> Manifest:
    manifest = planned(dresden_index)
    assert manifest is not None
    return manifest


@pytest.fixture(scope="module")
def paper(index: Manifest) -> Experiment:
    return prepare(as_recipe("paper", index)[0], index)


@pytest.fixture(scope="module")
def dresden18(index: Manifest) -> Experiment:
    return prepare(as_recipe("dresden18", index)[0], index)


def test_of_the_papers_models_dresden_lacks_the_private_ones(index: Manifest) -> None:
    recipe, missing = as_recipe("paper", index)
    assert (len(recipe.legs["B"].classes), len(recipe.legs["C"].classes)) == (15, 2)
    assert missing == PRIVATE


@pytest.mark.parametrize("task", ["A", "B", "C"])
def test_dresden_has_the_papers_patches(paper: Experiment, task: str) -> None:
    assert patches(paper, task) == wanted(paper, task)


def test_the_papers_photos_are_as_many(paper: Experiment) -> None:
    plan = paper.plans["A"]
    used = {int(i) for i in plan.photo[plan.part == PARTS.index("train")]}
    assert len(used) == 7408
    assert len(plan_of_test(paper, "A").manifest.photos) == 926


@pytest.mark.parametrize("task", ["B", "C"])
def test_one_device_of_each_of_the_papers_models_tests(paper: Experiment, task: str) -> None:
    classes = paper.tasks[task].classes
    parts: dict[str, dict[str, set[str]]] = {part: {c: set() for c in classes} for part in PARTS}
    everything: dict[str, set[str]] = {c: set() for c in classes}
    for p in paper.manifest.photos:
        if p.camera in everything:
            everything[p.camera].add(p.device)
            parts[paper.split.part[p.id]][p.camera].add(p.device)
    for camera in classes:
        (tested,) = parts["test"][camera]
        assert parts["train"][camera] == everything[camera] - {tested}
        assert parts["validation"][camera] <= parts["train"][camera]
    assert {r.camera for r in paper.plans["A"].manifest.photos}.isdisjoint(paper.tasks["C"].classes)


@pytest.mark.parametrize("task", ["A", "B", "C"])
def test_dresden18_has_its_patches_on_any_grid(dresden18: Experiment, task: str) -> None:
    assert patches(dresden18, task) == wanted(dresden18, task)
    if task != "A":
        assert not aligned(dresden18.plans[task])
        assert not aligned(plan_of_test(dresden18, task))


def test_dresden18_is_thirteen_and_five(dresden18: Experiment) -> None:
    tasks = dresden18.tasks
    assert (len(tasks["B"].classes), len(tasks["C"].classes)) == (13, 5)
    assert not set(tasks["B"].classes) & set(tasks["C"].classes)
    d70 = {p.device_id for p in dresden18.manifest.photos if p.camera == "Nikon D70"}
    assert len(d70) == 4
    assert "Nikon D70 / Nikon D70s 1" in d70
    total = {task: dresden18.plans[task].count("train").sum() for task in ("A", "B", "C")}
    assert total["A"] == pytest.approx(total["B"], rel=0.01)
    assert 8 * total["C"] == pytest.approx(total["B"], rel=0.01)


def test_the_training_on_dresden18_has_the_studys_split(
    dresden18: Experiment, index: Manifest
) -> None:
    recipe = Recipe.load(recipe_path("dresden18-cameras"))
    made = prepare(recipe, index)
    assert made.split.hash == dresden18.split.hash
    assert len(made.tasks["camera"].classes) == 18
    assert patches(made, "camera") == wanted(made, "camera")
    assert recipe.training == study("dresden18").training
    scenes = [{p.scene for p in made.split.photos(made.manifest, part).photos} for part in PARTS]
    assert [len(found) for found in scenes] == [58, 8, 17]


def made_up(
    devices: Mapping[str, str], scenes: int, size: tuple[int, int], variant: str
) -> Manifest:
    """A photo of each scene by each device, and a copy of it that is not of the `variant`."""
    records = []
    for d, (device, camera) in enumerate(devices.items()):
        make, _, model = camera.partition("_")
        for scene, v in product(range(scenes), range(2)):
            sha256 = f"{v:04x}{d:04x}{scene:08x}".ljust(64, "5")
            records.append(
                PhotoRecord(
                    sha256[:16], f"{device}-{scene}-{v}.jpg", sha256, make, model, device,
                    f"{scene:04d}", f"{device}-{scene}", *size,
                    extra={"variant": ("a copy", variant)[v]},
                )
            )  # fmt: skip
    return Manifest(tuple(records), Path())


def test_vision_tests_c_on_devices_never_seen() -> None:
    manifest = made_up(DEVICES, 160, (2048, 1536), "nat")
    made = prepare(as_recipe("vision", manifest)[0], manifest)
    assert {p.extra["variant"] for p in made.manifest.photos} == {"nat"}
    assert (len(made.tasks["B"].classes), len(made.tasks["C"].classes)) == (23, 5)
    assert "Apple iPad2" not in made.tasks["B"].classes
    held = set(study("vision").split.test_devices)
    assert {d.partition(" / ")[0] for d in held} == set(made.tasks["C"].classes)
    for p in made.manifest.photos:
        assert p.device_id not in held or made.split.part[p.id] == "test"
    for task in ("A", "B", "C"):
        assert patches(made, task) == wanted(made, task)
    for task in ("B", "C"):
        assert not aligned(made.plans[task])


def test_forchheim_parts_scenes_as_its_authors() -> None:
    camera = {n: f"Make{n % 9}_Model {n}" for n in range(1, 28)}
    camera |= {16: camera[15], 25: camera[23]}
    devices = {f"D{n:02d}": name for n, name in camera.items()}
    manifest = made_up(devices, 143, (1600, 1200), "orig")
    made = prepare(as_recipe("forchheim", manifest)[0], manifest)
    assert (len(made.tasks["B"].classes), len(made.tasks["C"].classes)) == (20, 5)
    scenes = [{p.scene for p in made.split.photos(made.manifest, part).photos} for part in PARTS]
    assert [len(found) for found in scenes] == [97, 18, 28]
    assert not scenes[2] & (scenes[0] | scenes[1])
    of_c = {p.device for p in made.manifest.photos if p.camera in made.tasks["C"].classes}
    assert of_c == set(study("forchheim").tasks.C.where["device"])  # none is left unused
    for task in ("A", "B", "C"):
        assert patches(made, task) == wanted(made, task)
    for task in ("B", "C"):
        assert not aligned(made.plans[task])
