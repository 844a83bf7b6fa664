"""StudyPlan: every training and forest of a study, decided before anything is cut or trained.

With MISLnet these are the paper's 25 trainings (A, B and C alone; B on A's trunk and A on B's at
seven share depths; A+B at seven; A+B+C at fc2) and 11 forests on fc2 features. One training is
ours: C alone for as many steps as A+B+C takes, so that Table 3's network has every chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from phototrace.errors import UsageError
from phototrace.evidence.formatting import shown
from phototrace.files import hash_of
from phototrace.learning.network import BACKBONES, CHANNELS, build_network, check_share_depth
from phototrace.learning.preparing import (
    Experiment,
    prepare,
    require_a_batch,
    taken,
    taken_by_leg,
    with_enough,
)
from phototrace.learning.recipe import Recipe
from phototrace.patches.plan import PatchPlan, plan_patches
from phototrace.photos.corpora import table1
from phototrace.photos.manifest import Manifest
from phototrace.study.recipe import TASKS, StudyRecipe

Way = Literal["single", "transfer", "multitask", "longer"]

TREES_ON: dict[str, tuple[str, ...]] = {
    "A": ("A", "B", "A+B"),
    "B": ("A", "B", "A+B"),
    "C": ("A", "B", "C", "A+B", "A+B+C"),
}
"""Target task -> whose features trees are grown on (paper, Tables 2 and 3)."""


@dataclass(frozen=True)
class Training:
    """One training of the plan.

    Attributes:
        features: Tasks that its trunk was trained on: "A", "A+B", ...
        way: What it is in the paper; "longer" is C alone with as many steps as A+B+C.
        targets: Tasks that it is tested on.
        depth: Share depth; None where nothing is shared.
        seed: Of weights and order.
        recipe: All its choices; its name is `label` and the hash of choices and data.
        trunk: Name of the training whose trunk is taken over, or None.
        patches: Target -> training patches.
        steps: Optimiser steps.
        retrained: Target -> parameters above the share depth (all where nothing is shared).
    """

    features: str
    way: Way
    targets: tuple[str, ...]
    depth: str | None
    seed: int
    recipe: Recipe
    trunk: str | None
    patches: Mapping[str, int]
    steps: int
    retrained: Mapping[str, int]

    @property
    def name(self) -> str:
        """Of its run: the label and what tells it from all others."""
        return self.recipe.name

    @property
    def label(self) -> str:
        """What people call it."""
        return label(self.features, self.way, self.targets, self.depth)


@dataclass(frozen=True)
class Forest:
    """Trees on the fc2 features of one training, for one target task."""

    features: str
    target: str
    seed: int
    source: str
    """Name of the training whose trunk gives the features."""
    name: str

    @property
    def label(self) -> str:
        """What people call it."""
        return f"trees for {self.target} on {self.features}"


@dataclass(frozen=True)
class StudyPlan:
    """What a study will do with given photos.

    Attributes:
        recipe: Its choices.
        seeds: One seed a repetition.
        depths: Share depths, shallow to deep.
        experiment: The one split, and each task's classes and patches to train and validation on.
        tests: Task -> its test patches, every class as often.
        missing: Classes that the recipe names and the photos lack, by task.
        trainings: In the order they are done, of every seed.
        forests: Likewise.
        hash: Of choices, photos, split and all patches: names the study.
    """

    recipe: StudyRecipe
    seeds: tuple[int, ...]
    depths: tuple[str, ...]
    experiment: Experiment
    tests: Mapping[str, PatchPlan]
    missing: Mapping[str, Sequence[str]]
    trainings: tuple[Training, ...]
    forests: tuple[Forest, ...]

    @property
    def hash(self) -> str:
        """SHA-256 over the recipe, the photos, the split and every patch."""
        return hash_of({
            "recipe": self.recipe.model_dump(mode="json"),
            "seeds": self.seeds,
            "photos": self.experiment.manifest.hash,
            "split": self.experiment.split.hash,
            "patches": {task: plan.hash for task, plan in self.experiment.plans.items()},
            "tests": {task: plan.hash for task, plan in self.tests.items()},
        })  # fmt: skip


def label(features: str, way: str, targets: Sequence[str], depth: str | None) -> str:
    """Such as "A", "A to B at fc2", "A+B at conv1"."""
    if way == "longer":
        return f"{features}, longer"
    if way == "transfer":
        return f"{features} to {targets[0]} at {depth}"
    return features if depth is None else f"{features} at {depth}"


def plan_study(recipe: StudyRecipe, manifest: Manifest, seeds: int = 1) -> StudyPlan:
    """Split the photos, choose every patch, and list what is to be trained.

    Raises:
        UsageError: The photos do not serve the recipe: a class has no photo in a part, a
            split is not possible, or a task has fewer than two classes.
    """
    depths = _depths(recipe)
    base, missing = _base(recipe, manifest, depths[-1])
    experiment = prepare(base, manifest, part="task")
    tests = {task: _test_plan(experiment, task) for task in TASKS}
    repeats = tuple(recipe.seed + number for number in range(seeds))
    trainings: list[Training] = []
    forests: list[Forest] = []
    for seed in repeats:
        made = _Maker(recipe, base, experiment, depths, seed).trainings()
        trainings += made
        forests += _forests(recipe, made, experiment.plans, tests, depths[-1], seed)
    return StudyPlan(
        recipe, repeats, depths, experiment, tests, missing, tuple(trainings), tuple(forests)
    )


def _depths(recipe: StudyRecipe) -> tuple[str, ...]:
    choice = recipe.network
    if choice.backbone not in BACKBONES:
        raise UsageError(
            f"There is no backbone {choice.backbone!r}. Choose one of: {', '.join(BACKBONES)}."
        )
    with torch.device("meta"):
        channels = CHANNELS[choice.channels]
        stages = list(BACKBONES[choice.backbone](choice.patch_size, channels, 2, choice.preset))
    for depth in recipe.depths:
        check_share_depth(depth, stages)
    depths = tuple(name for name in stages[:-1] if not recipe.depths or name in recipe.depths)
    if depths[-1] != stages[-2]:
        raise UsageError(f"'depths' needs {stages[-2]!r}: Tables 2 and 3 are about its features.")
    return depths


def _base(
    recipe: StudyRecipe, manifest: Manifest, deepest: str
) -> tuple[Recipe, dict[str, list[str]]]:
    """All three tasks as one recipe, which gives the one split; and the classes that are missing.

    Cameras of C are left out of A and B.
    """
    data = recipe.model_dump(exclude_none=True)
    legs = {task: dict(data["tasks"][task]) for task in TASKS}
    whole = {
        key: data[key] for key in ("name", "seed", "photos", "split", "training", "network")
    } | {"legs": legs}
    whole["network"]["share_depth"] = deepest
    photos = with_enough(taken(manifest, recipe.photos), recipe.photos, "[photos]")
    missing: dict[str, list[str]] = {}
    if not any(p.camera for p in photos.photos):
        raise UsageError("No photo says which camera took it. Index them with make and model.")
    few = _cameras(photos, recipe, "C", missing)
    # A photo of an unknown camera may be by one of C's.
    unknown = [""] if any(not p.camera for p in photos.photos) else []
    for task in ("A", "B"):
        without = {name: list(values) for name, values in legs[task]["without"].items()}
        without["camera"] = sorted({*without.get("camera", []), *few, *unknown})
        legs[task]["without"] = without
    cameras = _cameras(photos, recipe, "B", missing)
    both = sorted(set(cameras) & set(few))
    if recipe.tasks.B.classes and both:
        raise UsageError(f"{shown(both[0])} is a class of B and of C. C must be new to B.")
    legs["B"]["classes"] = [camera for camera in cameras if camera not in few]
    legs["C"]["classes"] = few
    return Recipe.parse(whole), missing


def _cameras(
    photos: Manifest, recipe: StudyRecipe, task: str, missing: dict[str, list[str]]
) -> list[str]:
    """The camera models of a task: those it names and the photos have, or all with enough."""
    leg = getattr(recipe.tasks, task)
    own = taken_by_leg(photos, leg).photos
    counts = Counter(p.camera for p in own if p.camera)
    enough = sorted(camera for camera, count in counts.items() if count >= leg.min_photos)
    found = enough
    if leg.classes:
        resolved, missing[task] = table1.resolve(leg.classes, enough)
        found = list(resolved.values())
    if len(found) < 2:
        raise UsageError(
            f"Task {task} has {len(found)} of its camera models in these photos, and needs two or "
            f"more{_named(missing.get(task, []))}. Choose others in [tasks.{task}]."
        )
    return found


def _named(missing: Sequence[str]) -> str:
    names = ", ".join(map(shown, missing[:5]))
    return f" (missing: {names}{', ...' if len(missing) > 5 else ''})"


def _test_plan(experiment: Experiment, task: str) -> PatchPlan:
    """The test patches of a task: everything is tested on these and no others."""
    leg = experiment.recipe.legs[task]
    own = with_enough(taken_by_leg(experiment.manifest, leg), leg, f"[tasks.{task}]")
    settings = experiment.plans[task].settings
    try:
        plan = plan_patches(own, experiment.split, settings, parts=["test"])
    except UsageError as error:
        raise UsageError(f"Task {task}: {error}") from None
    untested = [
        n for n, count in zip(settings.classes, plan.count("test"), strict=True) if not count
    ]
    if untested:
        raise UsageError(
            f"Task {task}: The test part has no patch of {untested[0]}. Add photos of it, leave "
            "the class out, or split in another way."
        )
    return plan


@dataclass(frozen=True)
class _Maker:
    """Makes the trainings of one seed."""

    recipe: StudyRecipe
    base: Recipe
    experiment: Experiment
    depths: tuple[str, ...]
    seed: int

    def trainings(self) -> list[Training]:
        """Singles first, then what the tables need, then depth by depth."""
        alone = {task: self._make(task, "single", (task,)) for task in TASKS}
        deepest = self.depths[-1]
        all_three = self._make("A+B+C", "multitask", TASKS, deepest)
        made = [*alone.values(), all_three]
        for depth in reversed(self.depths):
            made.append(self._make("A+B", "multitask", ("A", "B"), depth))
            made.append(self._make("A", "transfer", ("B",), depth, alone["A"]))
            made.append(self._make("B", "transfer", ("A",), depth, alone["B"]))
        return [*made, self._make("C", "longer", ("C",), steps=all_three.steps)]

    def _make(
        self,
        features: str,
        way: Way,
        targets: tuple[str, ...],
        depth: str | None = None,
        trunk: Training | None = None,
        steps: int = 0,
    ) -> Training:
        """One training; `steps` where it is to take another number than its epochs give."""
        data = self.base.model_dump(exclude_none=True)
        legs = {task: data["legs"][task] for task in targets}
        if len(legs) == 1:  # a weight is against other legs
            legs[targets[0]]["weight"] = 1.0
        training = data["training"]
        if way == "transfer":
            training = self.recipe.transfer.model_dump(exclude_none=True)
            legs[targets[0]]["batch_size"] = training.pop("batch_size")
        patches = {task: self.experiment.plans[task].total("train") for task in targets}
        if len(targets) == len(TASKS):
            legs["C"]["batch_size"] = self._small_batch(patches)
        for task, count in patches.items():
            require_a_batch(f"The task {task!r}", count, legs[task]["batch_size"])
        per_epoch = max(-(-patches[task] // legs[task]["batch_size"]) for task in targets)
        factor = steps / (per_epoch * training["epochs"]) if steps else self._repeats(targets)
        for key in ("epochs", "halve_every"):
            training[key] = max(1, round(factor * training[key]))
        training["seed"] = self.seed
        network = data["network"] | ({"share_depth": depth} if depth else {})
        if depth is None:
            network.pop("share_depth", None)
        recipe = Recipe.parse({**data, "legs": legs, "training": training, "network": network})
        short = label(features, way, targets, depth)
        return Training(
            features=features, way=way, targets=targets, depth=depth, seed=self.seed,
            recipe=self._named(recipe, short, trunk),
            trunk=trunk.name if trunk else None,
            patches=patches,
            steps=per_epoch * training["epochs"],
            retrained=_retrained(recipe, {t: self.experiment.tasks[t].outputs for t in legs}),
        )  # fmt: skip

    def _repeats(self, targets: Sequence[str]) -> float:
        """How often A+B show the patches of A or B in one epoch: alone it gets as many passes.

        In the paper both have 10,000 steps an epoch, and it is 1.
        """
        if len(targets) > 1 or targets[0] == "C":
            return 1.0
        return max(self._own_steps("A"), self._own_steps("B")) / self._own_steps(targets[0])

    def _own_steps(self, task: str) -> int:
        patches = self.experiment.plans[task].total("train")
        return -(-patches // self.base.legs[task].batch_size)

    def _small_batch(self, patches: Mapping[str, int]) -> int:
        """C's batch in A+B+C, so that its patches are shown about once an epoch (Sec. 5.4)."""
        return max(2, round(patches["C"] / max(self._own_steps("A"), self._own_steps("B"))))

    def _named(self, recipe: Recipe, short: str, trunk: Training | None) -> Recipe:
        """The recipe under a name that no other choices or data have."""
        key = hash_of({
            "recipe": {k: v for k, v in recipe.choices().items() if k != "name"},
            "trunk": trunk.name if trunk else None,
            "photos": self.experiment.manifest.hash,
            "split": self.experiment.split.hash,
            "patches": {task: self.experiment.plans[task].hash for task in recipe.legs},
        })  # fmt: skip
        words = short.replace(" at ", "-").replace(", ", "-").replace(" ", "-").replace("+", "")
        return recipe.model_copy(update={"name": f"{words}-{key[:12]}"})


def _retrained(recipe: Recipe, outputs: Mapping[str, int]) -> dict[str, int]:
    """Parameters of each leg above the share depth; all where nothing is shared."""
    choice = recipe.network
    with torch.device("meta"):
        network = build_network(
            BACKBONES[choice.backbone], outputs, patch_size=choice.patch_size,
            channels=choice.channels, preset=choice.preset, share_depth=choice.share_depth,
        )  # fmt: skip
    shared = 0 if choice.share_depth else sum(p.numel() for p in network.trunk.parameters())
    return {
        leg: shared + sum(p.numel() for p in network.heads[leg].parameters()) for leg in outputs
    }


def _forests(
    recipe: StudyRecipe,
    trainings: Sequence[Training],
    plans: Mapping[str, PatchPlan],
    tests: Mapping[str, PatchPlan],
    deepest: str,
    seed: int,
) -> Iterator[Forest]:
    trunks = {
        one.features: one
        for one in trainings
        if one.way == "single" or (one.way == "multitask" and one.depth == deepest)
    }
    for target, sources in TREES_ON.items():
        for features in sources:
            source = trunks[features]
            facts: dict[str, Any] = {
                "source": source.name, "target": target, "seed": seed,
                "trees": recipe.trees.model_dump(), "test": tests[target].hash,
                "patches": plans[target].hash,
            }  # fmt: skip
            name = f"trees-{target}-on-{features.replace('+', '')}-{hash_of(facts)[:12]}"
            yield Forest(features, target, seed, source.name, name)
