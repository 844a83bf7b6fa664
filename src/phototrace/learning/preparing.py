"""What a recipe means for given photos: split, tasks and patches, before anything is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from phototrace.errors import UsageError
from phototrace.files import hash_of
from phototrace.learning.accelerator import Precision
from phototrace.learning.batches import strata_shares
from phototrace.learning.leaks import TRAINED
from phototrace.learning.model_files import ModelConfig
from phototrace.learning.recipe import LegChoice, Photos, Recipe
from phototrace.learning.tasks import TASKS, Task
from phototrace.patches.chains import ChainEdits
from phototrace.patches.plan import PatchPlan, PatchSettings, label_of, plan_patches
from phototrace.photos.copies import without_conflicts
from phototrace.photos.dealing import PARTS
from phototrace.photos.indexing import read_photos
from phototrace.photos.manifest import Manifest, PhotoRecord, Problem
from phototrace.photos.photo import legible
from phototrace.photos.splits import Split, make_split
from phototrace.simulation.collection import simulate

MOST_REPEATS = 4
"""Patches that are shown more often than this beyond once an epoch are pointed out."""


@dataclass(frozen=True)
class Experiment:
    """What a recipe means for given photos, decided before anything is cut or trained.

    Attributes:
        recipe: All choices.
        manifest: The photos that take part.
        split: Their parts.
        tasks: Leg name -> task with its classes.
        plans: Leg name -> its patches.
        notes: What the photos leave to be desired, in sentences.
    """

    recipe: Recipe
    manifest: Manifest
    split: Split
    tasks: Mapping[str, Task]
    plans: Mapping[str, PatchPlan]
    notes: tuple[str, ...] = ()

    def config(self, precision: Precision) -> ModelConfig:
        """What the model will be; what it is trained on is added later."""
        choice = self.recipe.network
        return ModelConfig(
            name=self.recipe.name,
            backbone=choice.backbone,
            patch_size=choice.patch_size,
            channels=choice.channels,
            preset=choice.preset,
            share_depth=choice.share_depth,
            precision=precision,
            tasks=self.tasks,
            trained_on={},
        )


def gather_photos(
    choice: Photos, beside: Path, given: Path | None, work: Path, *, keep_damaged: bool = False
) -> Manifest:
    """The manifest of a recipe: `given` (a folder or a manifest), else what its [photos] name.

    `beside` is the folder that the recipe's paths start from; simulated photos go to `work`.
    `keep_damaged` takes JPEG that have lost data, as `read_photos` does.
    """
    if given is not None:
        return read_photos(given, choice.corpus, keep_damaged=keep_damaged)
    if choice.manifest is not None:
        return read_photos(beside / choice.manifest, keep_damaged=keep_damaged)
    if choice.simulated is None:
        raise UsageError("The recipe names no photos. Give a manifest with --photos.")
    wanted = choice.simulated
    key = hash_of(wanted.model_dump())[:12]
    return simulate(
        work / f"simulated-{key}",
        scenes=wanted.scenes,
        size=(wanted.height, wanted.width),
        seed=wanted.seed,
        models=wanted.models or None,
        devices=wanted.devices,
        pictures=None if wanted.pictures is None else beside / wanted.pictures,
        leave_out=wanted.leave_out,
    )


def prepare(recipe: Recipe, manifest: Manifest, *, part: str = "leg") -> Experiment:
    """Select, split and plan; raises `UsageError` where the photos do not serve the recipe.

    There is one split for all legs, of all photos that the recipe takes: what tests one leg
    trains none. `part` is what errors call a leg.
    """
    manifest, conflicts = without_conflicts(manifest)
    all_taken = taken(manifest, recipe.photos)
    chosen = with_enough(all_taken, recipe.photos, "[photos]")
    by = recipe.split
    split = make_split(
        chosen, by.by, recipe.seed, validation=by.validation, test=by.test,
        test_devices=by.test_devices, validation_devices=by.validation_devices,
    )  # fmt: skip
    tasks: dict[str, Task] = {}
    plans: dict[str, PatchPlan] = {}
    notes = [*_conflicting(conflicts), *_too_few(all_taken, recipe.photos, "[photos]")]
    notes += split.notes
    for name in recipe.legs:
        leg, owner = recipe.cutting(name), recipe.legs[name].patches_of
        try:
            by_leg = taken_by_leg(chosen, leg)
            own = with_enough(by_leg, leg, f"[{part}s.{name}]")
            tasks[name] = task_of_leg(recipe, name, TASKS[leg.task]).among(own.photos, leg.classes)
            settings = patch_settings(recipe, leg, tasks[name])
            if owner is None:
                plans[name] = plan_patches(own, split, settings, parts=TRAINED)
        except UsageError as error:
            raise UsageError(f"{part.capitalize()} {name!r}: {error}") from None
        what = f"{part.capitalize()} {name!r}"
        notes += [*_too_few(by_leg, leg, what), *_unlabelled(what, tasks[name], own)]
        if owner is not None:
            notes += _untested(what, tasks[name], own, split)
            continue
        require_a_batch(f"The {part} {name!r}", plans[name].total("train"), leg.batch_size)
        notes += [*_too_small(what, recipe.network.patch_size, own), *_cut(what, plans[name])]
        notes += _untested(what, tasks[name], own, split)
        if leg.balance == "draw":
            notes += _rare(what, plans[name])
    patches = {name: plan.total("train") for name, plan in plans.items()}
    notes += _repeated(patches, {name: recipe.legs[name].batch_size for name in plans})
    return Experiment(recipe, chosen, split, tasks, plans, tuple(notes))


def task_of_leg(recipe: Recipe, name: str, task: Task) -> Task:
    """A leg's task; with the edits of the leg whose patches it takes, where these label it.

    Raises `UsageError` where those patches say nothing of it.
    """
    owner = recipe.legs[name].patches_of
    if owner is None or task.column:
        return task
    edits = TASKS[recipe.legs[owner].task].edits
    if not isinstance(edits, ChainEdits) or task.name not in edits.answers:
        raise UsageError(
            f"The patches of {owner!r} say nothing of {task.name!r}. Take those of a leg with the "
            "task edit or recompressed, or none."
        )
    return replace(task, edits=edits)


def taken(manifest: Manifest, choice: Photos) -> Manifest:
    """The photos that a recipe takes by their columns, its camera models renamed."""
    return manifest.where(**choice.where).renamed(choice.rename)


def taken_by_leg(manifest: Manifest, leg: LegChoice) -> Manifest:
    """Those of a recipe's photos that a leg takes by their columns."""
    return manifest.where(**leg.where).without(**leg.without)


def with_enough(chosen: Manifest, choice: Photos | LegChoice, where: str) -> Manifest:
    """The photos whose camera model has enough of them."""
    counts = Counter(record.camera for record in chosen.photos)
    kept = tuple(r for r in chosen.photos if counts[r.camera] >= choice.min_photos)
    if not kept:
        raise UsageError(f"The recipe's {where} leaves no photos. Loosen 'where' or 'min_photos'.")
    return replace(chosen, photos=kept)


def _too_few(photos: Manifest, choice: Photos | LegChoice, what: str) -> Iterator[str]:
    """A note on the camera models that `with_enough` leaves out."""
    counts = Counter(record.camera for record in photos.photos)
    few = {camera: n for camera, n in counts.items() if n < choice.min_photos}
    if few:
        first = min(few)
        yield (
            f"{what}: camera models with fewer than {choice.min_photos} photos are left out: "
            f"{len(few)} models, {sum(few.values())} photos (the first: "
            f"{first or 'unknown camera'}, {few[first]})."
        )


def _unlabelled(what: str, task: Task, photos: Manifest) -> Iterator[str]:
    """A note on photos that say nothing where the task asks."""
    unknown = [r for r in photos.photos if task.column and not label_of(r, task.column)]
    if unknown:
        yield (
            f"{what}: {len(unknown)} photos of unknown {task.column} take no part (the first: "
            f"{legible(unknown[0].path)})."
        )


def _too_small(what: str, size: int, photos: Manifest) -> Iterator[str]:
    """A note on photos that hold no patch of `size` px."""
    small = [r for r in photos.photos if 0 < min(r.width, r.height) < size]
    if small:
        first = small[0]
        yield (
            f"{what}: {len(small)} photos are too small for a patch of {size} px (the first: "
            f"{legible(first.path)}, {first.width} x {first.height})."
        )


def skipped_note(what: str, skipped: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A note on photos that gave no patches when they were cut, such as those of other sizes."""
    if skipped:
        yield f"{what}: {len(skipped)} photos gave no patches. {skipped[0]['reason']}"


def require_a_batch(what: str, patches: int, batch_size: int) -> None:
    """Raise `UsageError` unless there are patches enough for one batch."""
    if patches < batch_size:
        raise UsageError(
            f"{what} has {patches} training patches, fewer than its batch of {batch_size}. "
            "Use more photos, or a smaller batch_size."
        )


def _conflicting(conflicts: Sequence[Problem]) -> Iterator[str]:
    """A note on photos that the manifest lists under two cameras or devices."""
    if conflicts:
        yield (
            f"{len(conflicts)} photos are left out because the manifest lists a file under two "
            f"cameras or devices. The first: {conflicts[0].text}"
        )


def _cut(what: str, plan: PatchPlan) -> Iterator[str]:
    """A note on patches left out so that all classes have equally many."""
    for part, cut in plan.cut.items():
        kept = int(plan.count(part).min())
        fewest = [n for n in plan.settings.classes if n not in cut]
        yield (
            f"{what}: every class is cut to {kept} {part} patches, the number of {fewest[0]}; "
            f"{sum(cut.values())} patches of {len(cut)} classes are left out. "
            'balance = "draw" trains on all of them.'
        )


def _rare(what: str, plan: PatchPlan) -> Iterator[str]:
    """A note on the classes whose few patches are shown again and again."""
    train = plan.part == PARTS.index("train")
    if plan.settings.edits is not None or not train.any():
        return
    devices = [record.device_id for record in plan.manifest.photos]
    _, device = np.unique(devices, return_inverse=True)
    label = plan.label[train].astype(np.int64)
    stratum, shares = strata_shares(np.stack([label, device[plan.photo[train]]], axis=1))
    passes = (shares * len(label) / np.bincount(stratum))[stratum]
    often = {int(k): passes[label == k].mean() for k in np.unique(label[passes > 1 + MOST_REPEATS])}
    if often:
        most = max(often, key=lambda k: often[k])
        yield (
            f"{what}: patches of {len(often)} of {len(plan.settings.classes)} classes are shown "
            f"more than {1 + MOST_REPEATS} times an epoch, those of {plan.settings.classes[most]} "
            f"{often[most]:.0f} times, because they are few. More photos of them would help most."
        )


def _untested(what: str, task: Task, photos: Manifest, split: Split) -> Iterator[str]:
    """A note where no photo of a class is in the validation or test part."""
    if not task.column:
        return
    for part in ("validation", "test"):
        there = {label_of(r, task.column) for r in photos.photos if split.part.get(r.id) == part}
        missing = [name for name in task.classes if name not in there]
        if not missing:
            continue
        yield (
            f"{what}: the {part} part has no photo of {len(missing)} of its "
            f"{len(task.classes)} classes ({missing[0]}{', ...' if missing[1:] else ''})."
        )


def passes_per_epoch(patches: Mapping[str, int], batch: Mapping[str, int]) -> dict[str, float]:
    """How often each leg (name -> training patches, batch size) shows its patches in an epoch."""
    steps = max(-(-count // batch[leg]) for leg, count in patches.items())
    return {leg: steps * batch[leg] / count for leg, count in patches.items()}


def _repeated(patches: Mapping[str, int], batch: Mapping[str, int]) -> Iterator[str]:
    """A note on each leg that repeats its patches more than `MOST_REPEATS` times an epoch."""
    for leg, passes in passes_per_epoch(patches, batch).items():
        if passes > 1 + MOST_REPEATS:
            yield (
                f"Leg {leg!r} shows its {patches[leg]} patches {passes:.1f} times an epoch: "
                f"another leg takes longer. A batch_size of {max(2, round(batch[leg] / passes))} "
                "comes closest to once."
            )


def patch_settings(recipe: Recipe, leg: LegChoice, task: Task) -> PatchSettings:
    """How a leg's patches are cut, as the recipe says."""
    edits = task.edits
    editing = tuple(leg.editing) if edits else ()
    return PatchSettings(
        classes=() if isinstance(edits, ChainEdits) else task.classes,
        label=task.column or task.name,
        size=recipe.network.patch_size,
        channels=recipe.network.channels,
        blocks=leg.blocks,
        blocks_per_photo=leg.blocks_per_photo,
        per_class={str(part): count for part, count in leg.per_class.items()},
        photos={str(part): count for part, count in leg.photos.items()},
        edits=edits,
        editing=("region",) if isinstance(edits, ChainEdits) else editing,
        balanced=task.edits is None and leg.balance == "cut",
        recompress=recipe.photos.recompress,
        seed=recipe.seed,
    )


def trained_photos(experiment: Experiment) -> list[PhotoRecord]:
    """The photos that train or validate."""
    part = experiment.split.part
    return [r for r in experiment.manifest.photos if part.get(r.id) in TRAINED]


def split_facts(experiment: Experiment) -> dict[str, Any]:
    """What a later test must know of the split: each photo's part, by its hash."""
    split, photos = experiment.split, experiment.manifest.photos
    return {
        "version": 2,
        "hash": split.hash,
        "part": {r.sha256: split.part[r.id] for r in photos if r.id in split.part},
        "excluded": {r.sha256: split.excluded[r.id] for r in photos if r.id in split.excluded},
    }
