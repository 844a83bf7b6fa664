"""From a recipe to a run: photos, split, patch stores, training."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from phototrace.errors import UsageError
from phototrace.files import hash_of, is_complete, locked
from phototrace.learning.batches import Leg
from phototrace.learning.leaks import check_leaks
from phototrace.learning.network import BACKBONES, Backbone, build_network
from phototrace.learning.recipe import LegChoice, Recipe
from phototrace.learning.run import Run, machine, write_run
from phototrace.learning.tasks import T_A, Task, camera_task
from phototrace.learning.training import computes_bfloat16, train
from phototrace.patches.building import build_store
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.photos.audit import Leak
from phototrace.photos.corpora.simulated import simulate
from phototrace.photos.indexing import read_photos
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import Split, make_split

TAUGHT = ("train", "tune")
"""The parts that a training opens; the test part is left to the evaluation."""


@dataclass(frozen=True)
class Experiment:
    """What a recipe means for given photos, decided before anything is cut or trained.

    Attributes:
        recipe: All choices.
        manifest: The photos that take part.
        split: Their parts.
        tasks: Leg name -> task with its classes.
        plans: Leg name -> its patches.
    """

    recipe: Recipe
    manifest: Manifest
    split: Split
    tasks: Mapping[str, Task]
    plans: Mapping[str, PatchPlan]


def find_photos(recipe: Recipe, beside: Path, photos: Path | None, work: Path) -> Manifest:
    """The manifest of a recipe: `photos` (a folder or a manifest) if given, else what it names.

    `beside` is the folder that the recipe's paths start from; simulated photos go to `work`.
    """
    choice = recipe.photos
    if photos is not None:
        return read_photos(photos)
    if choice.manifest is not None:
        return read_photos(beside / choice.manifest)
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
        pictures=None if wanted.pictures is None else beside / wanted.pictures,
        leave_out=wanted.leave_out,
    )


def prepare(recipe: Recipe, manifest: Manifest) -> Experiment:
    """Select, split and plan; raises `UsageError` where the photos do not serve the recipe."""
    chosen = manifest.where(**recipe.photos.where)
    counts = Counter(record.camera for record in chosen.photos)
    kept = [r for r in chosen.photos if counts[r.camera] >= recipe.photos.min_photos]
    if not kept:
        raise UsageError(
            f"None of the {len(manifest.photos)} photos is left by the recipe's [photos]. "
            "Loosen 'where' or 'min_photos'."
        )
    chosen = Manifest(photos=tuple(kept), root=manifest.root)
    by = recipe.split
    split = make_split(
        chosen, by.by, recipe.seed, tune=by.tune, test=by.test, test_devices=by.test_devices
    )
    tasks = {name: _task(leg, chosen) for name, leg in recipe.legs.items()}
    plans = {
        name: plan_patches(
            chosen, split, patch_settings(recipe, recipe.legs[name], task), parts=TAUGHT
        )
        for name, task in tasks.items()
    }
    return Experiment(recipe, chosen, split, tasks, plans)


def patch_settings(recipe: Recipe, leg: LegChoice, task: Task) -> PatchSettings:
    """How a leg's patches are cut, as the recipe says."""
    return PatchSettings(
        classes=task.classes,
        label=task.label,
        size=recipe.network.patch_size,
        channels=recipe.network.channels,
        blocks=leg.blocks,
        blocks_per_photo=leg.blocks_per_photo,
        per_class={str(part): count for part, count in leg.per_class.items()},
        editing=tuple(leg.editing) if task.label == T_A.label else (),
        recompress=recipe.photos.recompress,
        seed=recipe.seed,
    )


def train_recipe(
    recipe: Recipe,
    manifest: Manifest,
    out: Path,
    *,
    resume: bool = False,
    backbone: Backbone | None = None,
    allow_leaks: bool = False,
) -> Run:
    """Train what `recipe` says and leave the run in `out / recipe.name`.

    Patch stores go to `out / "stores"` and are shared by recipes that cut the same patches. A
    finished run of the same choices and data is returned as it is. An unfinished one goes on
    with `resume`; without, it is a `UsageError`. So are leaks between the parts of the split
    (`photos.audit`), unless `allow_leaks`: then the run's provenance lists them.
    """
    folder = out / recipe.name
    experiment = prepare(recipe, manifest)
    function = backbone or BACKBONES.get(recipe.network.backbone)
    if function is None:
        raise UsageError(
            f"There is no backbone {recipe.network.backbone!r}. Choose {', '.join(BACKBONES)}, or "
            "pass a function from Python."
        )
    leaks = check_leaks(experiment.manifest, experiment.split, out / "stores", allowed=allow_leaks)
    with locked(folder):
        return _train_in(folder, experiment, function, out / "stores", resume, leaks)


def _train_in(
    folder: Path,
    experiment: Experiment,
    function: Backbone,
    stores: Path,
    resume: bool,
    leaks: list[Leak],
) -> Run:
    recipe = experiment.recipe
    legs = [
        _leg(name, experiment.plans[name], recipe.legs[name].batch_size, stores)
        for name in recipe.legs
    ]
    data = {leg.name: leg.store.hash for leg in legs}
    plan = hash_of({
        "recipe": recipe.model_dump(mode="json"),
        "data": data,
        "split": experiment.split.hash,
        "threads": torch.get_num_threads(),
        "bfloat16": computes_bfloat16(),
        "torch": torch.__version__,
    })  # fmt: skip
    if is_complete(folder):
        run = Run.open(folder)
        if run.provenance.get("plan") == plan:
            return run
        raise UsageError(
            f"{folder} holds a run of other choices or data. Choose another name or folder."
        )
    if (folder / "checkpoint").is_dir() and not resume:
        raise UsageError(
            f"{folder} holds an unfinished training. Go on with --resume, or remove the folder."
        )
    network = build_network(
        function,
        {name: len(task.classes) for name, task in experiment.tasks.items()},
        patch_size=recipe.network.patch_size,
        channels=recipe.network.channels,
        preset=recipe.network.preset,
        seed=recipe.seed,
    )
    done = train(
        network, legs, recipe.training, folder,
        plan=plan, preset=recipe.network.preset, seed=recipe.seed,
    )  # fmt: skip
    provenance = {
        "plan": plan,
        "seed": recipe.seed,
        "classes": {name: list(task.classes) for name, task in experiment.tasks.items()},
        "share_depth": None,
        "data": data,
        "manifest": experiment.manifest.hash,
        "split": experiment.split.hash,
        "leaks": [vars(leak) for leak in leaks],
        "patches": {leg.name: leg.store.facts["count"] for leg in legs},
        "skipped": {leg.name: leg.store.facts["skipped"] for leg in legs},
        "seconds": round(done.seconds, 1),
        "machine": machine(),
    }
    run = write_run(folder, recipe, network, done.metrics, provenance, _split_facts(experiment))
    shutil.rmtree(folder / "checkpoint")
    return run


def _leg(name: str, plan: PatchPlan, batch_size: int, stores: Path) -> Leg:
    store = build_store(plan, stores / f"{name}-{plan.hash[:12]}")
    store.verify()
    train_rows = store.rows("train")
    if len(train_rows) < batch_size:
        raise UsageError(
            f"The leg {name!r} has {len(train_rows)} training patches, fewer than its batch of "
            f"{batch_size}. Use more photos, or a smaller batch_size."
        )
    return Leg(name, store, train_rows, store.rows("tune"), batch_size)


def _task(leg: LegChoice, manifest: Manifest) -> Task:
    """The task of a leg, its classes checked against what there is."""
    if leg.task == "manipulation":
        known: tuple[str, ...] = T_A.classes
    else:
        known = tuple(sorted({r.camera for r in manifest.photos if r.camera}))
    wanted = tuple(leg.classes) or known
    missing = [name for name in wanted if name not in known]
    if missing:
        raise UsageError(
            f"There is no class {missing[0]!r} for the task {leg.task!r}. "
            f"The classes are: {', '.join(known)}."
        )
    if len(wanted) < 2:
        raise UsageError(f"The task {leg.task!r} has fewer than two classes in these photos.")
    return Task(leg.task, wanted, T_A.label) if leg.task == T_A.name else camera_task(wanted)


def _split_facts(experiment: Experiment) -> dict[str, Any]:
    """What a later test must know: each photo's part by hash, and what training has seen."""
    split, photos = experiment.split, experiment.manifest.photos
    trained = [r for r in photos if split.part.get(r.id) in ("train", "tune")]
    return {
        "version": 1,
        "by": split.by,
        "seed": split.seed,
        "hash": split.hash,
        "part": {r.sha256: split.part[r.id] for r in photos if r.id in split.part},
        "excluded": {r.sha256: split.excluded[r.id] for r in photos if r.id in split.excluded},
        "devices": sorted({r.device_id for r in trained}),
        "scenes": sorted({r.scene for r in trained if r.scene}),
    }
