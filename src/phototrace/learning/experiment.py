"""From a recipe to a run: photos, split, patch stores, training."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from phototrace.errors import UsageError
from phototrace.files import hash_of, is_complete, locked
from phototrace.learning.batches import Leg
from phototrace.learning.leaks import TAUGHT, check_leaks
from phototrace.learning.network import BACKBONES, Backbone, Network, build_network
from phototrace.learning.recipe import LegChoice, Photos, Recipe
from phototrace.learning.run import Run, machine, require_free, write_run
from phototrace.learning.tasks import T_A, Task, camera_task
from phototrace.learning.training import (
    accelerator,
    computes_bfloat16,
    takes_bfloat16,
    train,
)
from phototrace.learning.transfer import (
    check_trunk,
    load_trunk,
    take_trunk,
    with_taught,
)
from phototrace.learning.trunk_output import TrunkOutput, store_trunk_output
from phototrace.patches.building import build_store
from phototrace.patches.plan import PatchPlan, PatchSettings, label_of, plan_patches
from phototrace.patches.store import PatchStore
from phototrace.photos.audit import Leak
from phototrace.photos.indexing import read_photos
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import Split, make_split
from phototrace.progress import say
from phototrace.simulation.collection import simulate

MOST_REPEATS = 4
"""A leg that shows its patches more often than this beyond once an epoch is pointed out."""


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


def find_photos(recipe: Recipe, beside: Path, photos: Path | None, work: Path) -> Manifest:
    """The manifest of a recipe: `photos` (a folder or a manifest) if given, else what it names.

    `beside` is the folder that the recipe's paths start from; simulated photos go to `work`.
    """
    choice = recipe.photos
    if photos is not None:
        return read_photos(photos, choice.corpus)
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
        devices=wanted.devices,
        pictures=None if wanted.pictures is None else beside / wanted.pictures,
        leave_out=wanted.leave_out,
    )


def prepare(recipe: Recipe, manifest: Manifest) -> Experiment:
    """Select, split and plan; raises `UsageError` where the photos do not serve the recipe.

    There is one split for all legs, of all photos that the recipe takes: what tests one leg
    trains none.
    """
    chosen = with_enough(taken(manifest, recipe), recipe.photos, "[photos]")
    by = recipe.split
    split = make_split(
        chosen, by.by, recipe.seed, validation=by.validation, test=by.test,
        test_devices=by.test_devices, validation_devices=by.validation_devices,
    )  # fmt: skip
    tasks: dict[str, Task] = {}
    plans: dict[str, PatchPlan] = {}
    notes: list[str] = []
    for name, leg in recipe.legs.items():
        try:
            own = with_enough(taken_by_leg(chosen, leg), leg, f"[legs.{name}]")
            tasks[name] = _task(leg, own)
            settings = patch_settings(recipe, leg, tasks[name])
            plans[name] = plan_patches(own, split, settings, parts=TAUGHT)
        except UsageError as error:
            raise UsageError(f"Leg {name!r}: {error}") from None
        _require_a_batch(name, plans[name].total("train"), leg.batch_size)
        notes += _untested(name, tasks[name], own, split)
    patches = {name: plan.total("train") for name, plan in plans.items()}
    notes += _repeated(patches, {name: leg.batch_size for name, leg in recipe.legs.items()})
    return Experiment(recipe, chosen, split, tasks, plans, tuple(notes))


def taken(manifest: Manifest, recipe: Recipe) -> Manifest:
    """The photos that a recipe takes by their columns, its camera models renamed."""
    choice = recipe.photos
    return manifest.where(**choice.where).renamed(choice.rename)


def taken_by_leg(manifest: Manifest, leg: LegChoice) -> Manifest:
    """Those of a recipe's photos that a leg takes by their columns."""
    return manifest.where(**leg.where).without(**leg.without)


def with_enough(chosen: Manifest, choice: Photos | LegChoice, where: str) -> Manifest:
    """The photos whose camera model has enough of them."""
    counts = Counter(record.camera for record in chosen.photos)
    kept = tuple(r for r in chosen.photos if counts[r.camera] >= choice.min_photos)
    if not kept:
        raise UsageError(
            f"None of the photos is left by the recipe's {where}. Loosen 'where' or 'min_photos'."
        )
    return replace(chosen, photos=kept)


def _require_a_batch(name: str, patches: int, batch_size: int) -> None:
    if patches < batch_size:
        raise UsageError(
            f"The leg {name!r} has {patches} training patches, fewer than its batch of "
            f"{batch_size}. Use more photos, or a smaller batch_size."
        )


def _untested(leg: str, task: Task, photos: Manifest, split: Split) -> Iterator[str]:
    """A note where no photo of a class is in the test part."""
    if task.label == T_A.label:
        return
    tested = {label_of(r, task.label) for r in photos.photos if split.part.get(r.id) == "test"}
    missing = [name for name in task.classes if name not in tested]
    if missing:
        yield (
            f"Leg {leg!r}: the test part has no photo of {len(missing)} of its "
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
                f"Leg {leg!r} shows its {patches[leg]} patches {passes:.1f} times an epoch, for "
                f"another leg takes longer. A batch_size of {max(2, round(batch[leg] / passes))} "
                "comes closest to once."
            )


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
        photos={str(part): count for part, count in leg.photos.items()},
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
    trunk: Run | None = None,
) -> Run:
    """Train what `recipe` says and leave the run in `out / recipe.name`.

    Patch stores go to `out / "stores"` and are shared by recipes that cut the same patches. A
    finished run of the same choices and data is returned as it is. An unfinished one goes on
    with `resume`; without, it is a `UsageError`. So are leaks between the parts of the split
    (`photos.audit`), unless `allow_leaks`: then the run's provenance lists them. `trunk` takes
    the place of the recipe's `trunk_from` (which starts from the working folder here): its stages
    up to `share_depth` stay as they are, and what is above them is trained anew.
    """
    folder = out / recipe.name
    trunk = trunk or load_trunk(recipe, Path())
    check_trunk(recipe, trunk)
    experiment = prepare(recipe, manifest)
    network = _network(experiment, backbone, trunk)
    leaks = check_leaks(
        experiment.manifest, experiment.split, out / "stores",
        taught=trunk.split if trunk else None, test_devices=recipe.split.test_devices,
        allowed=allow_leaks,
    )  # fmt: skip
    with locked(folder):
        require_free(folder, recipe, experiment.split.hash, resume)
        return _train_in(folder, experiment, network, trunk, leaks, out / "stores", resume)


def _network(experiment: Experiment, backbone: Backbone | None, trunk: Run | None) -> Network:
    """The network before its training: new, but for a trunk that is taken over."""
    recipe, choice = experiment.recipe, experiment.recipe.network
    function = backbone or BACKBONES.get(choice.backbone)
    if function is None:
        raise UsageError(
            f"There is no backbone {choice.backbone!r}. Choose {', '.join(BACKBONES)}, or "
            "pass a function from Python."
        )
    network = build_network(
        function,
        {name: len(task.classes) for name, task in experiment.tasks.items()},
        patch_size=choice.patch_size,
        channels=choice.channels,
        preset=choice.preset,
        share_depth=choice.share_depth,
        seed=recipe.training_seed,
    )
    if trunk is not None:
        take_trunk(network, trunk, function)
    return network


def _train_in(
    folder: Path,
    experiment: Experiment,
    network: Network,
    trunk: Run | None,
    leaks: list[Leak],
    stores: Path,
    resume: bool,
) -> Run:
    recipe = experiment.recipe
    data = {name: _store(name, plan, stores) for name, plan in experiment.plans.items()}
    legs = [_leg(name, store, recipe.legs[name]) for name, store in data.items()]
    plan = hash_of({
        "recipe": recipe.choices(),
        "trunk": trunk.hash if trunk else None,
        "data": {name: store.hash for name, store in data.items()},
        "split": experiment.split.hash,
        "threads": torch.get_num_threads(),
        "bfloat16": computes_bfloat16(),
        "torch": torch.__version__,
    })  # fmt: skip
    if is_complete(folder):
        run = Run.load(folder)
        if run.provenance.get("plan") == plan:
            return run
        raise UsageError(
            f"{folder} holds a run of other choices or data. Choose another name or folder."
        )
    for note in experiment.notes:
        say(note)
    provenance = {
        "plan": plan,
        "seed": recipe.training_seed,
        "classes": {name: list(task.classes) for name, task in experiment.tasks.items()},
        "share_depth": recipe.network.share_depth,
        "data": {name: store.hash for name, store in data.items()},
        "manifest": experiment.manifest.hash,
        "split": experiment.split.hash,
        "leaks": [vars(leak) for leak in leaks],
        "patches": {name: store.facts["count"] for name, store in data.items()},
        "passes": passes_per_epoch(
            {leg.name: len(leg.train) for leg in legs}, {leg.name: leg.batch_size for leg in legs}
        ),
        "skipped": {name: store.facts["skipped"] for name, store in data.items()},
        "notes": list(experiment.notes),
        "machine": machine(),
    }
    trained = network
    if trunk is not None:
        output = _trunk_output(network, data, recipe, trunk, stores)
        if output is not None:
            legs = [replace(leg, store=output) for leg in legs]
            trained = network.above_trunk()
        stored = output.hash if output else None
        provenance["trunk"] = {"run": trunk.name, "hash": trunk.hash, "stored": stored}
        # The same plan in another way gives the same head only within rounding.
        plan = hash_of([plan, stored])
    done = train(
        trained, legs, recipe.training, folder,
        plan=plan, preset=recipe.network.preset, seed=recipe.training_seed,
    )  # fmt: skip
    provenance["seconds"] = round(done.seconds, 1)
    facts = with_taught(_split_facts(experiment), trunk)
    run = write_run(folder, recipe, network, done.metrics, provenance, facts)
    shutil.rmtree(folder / "checkpoint")
    return run


def _trunk_output(
    network: Network, data: Mapping[str, PatchStore], recipe: Recipe, trunk: Run, stores: Path
) -> TrunkOutput | None:
    (store,) = data.values()
    training = recipe.training
    return store_trunk_output(
        network,
        store,
        {
            "trunk": trunk.hash,
            "depth": recipe.network.share_depth,
            "bfloat16": takes_bfloat16(training.precision),
        },
        stores,
        accelerator(training.precision),
        training.trunk_store_gb,
    )


def _store(name: str, plan: PatchPlan, stores: Path) -> PatchStore:
    store = build_store(plan, stores / f"{name}-{plan.hash[:12]}")
    store.verify()
    return store


def _leg(name: str, store: PatchStore, choice: LegChoice) -> Leg:
    train_rows = store.rows("train")
    _require_a_batch(name, len(train_rows), choice.batch_size)
    return Leg(name, store, train_rows, store.rows("validation"), choice.batch_size, choice.weight)


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
    trained = [r for r in photos if split.part.get(r.id) in TAUGHT]
    return {
        "version": 1,
        "by": split.by,
        "seed": split.seed,
        "hash": split.hash,
        "part": {r.sha256: split.part[r.id] for r in photos if r.id in split.part},
        "excluded": {r.sha256: split.excluded[r.id] for r in photos if r.id in split.excluded},
        "devices": sorted({r.device_id for r in trained}),
        "scenes": sorted({r.scene for r in trained if r.scene}),
        "bursts": sorted({r.burst for r in trained if r.burst}),
    }
