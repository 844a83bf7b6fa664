"""The patches of a training's legs: cut before it begins, or while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.learning.batches import AS_GIVEN, Leg
from phototrace.learning.preparing import Experiment, require_a_batch, taken_by_leg
from phototrace.learning.recipe import LegChoice
from phototrace.learning.tasks import Task
from phototrace.patches.building import build_store
from phototrace.patches.decoded import decode_photos, decoded_key
from phototrace.patches.plan import PatchPlan, label_of
from phototrace.patches.store import PatchStore
from phototrace.patches.stream import FreshPatches
from phototrace.photos.manifest import Manifest, PhotoRecord


@dataclass(frozen=True)
class LegData:
    """Where a leg's patches come from.

    Attributes:
        leg: It, ready to train.
        hash: Names the data that its network sees.
        count: Part -> patches of each class (of all together, without classes).
        skipped: Photos that gave no patches: id, path and reason.
        stored: Folder name of the patches that train; "" where they are not kept.
    """

    leg: Leg
    hash: str
    count: Mapping[str, Sequence[int]]
    skipped: Sequence[Mapping[str, str]]
    stored: str = ""


def leg_data(experiment: Experiment, stores: Path) -> dict[str, LegData]:
    """Cut or decode what the legs of an experiment need, into `stores`."""
    plans = experiment.plans
    if experiment.recipe.training.patches == "fixed":
        built = {name: _store(name, plan, stores) for name, plan in plans.items()}
        owners = {name: _fixed(experiment, name, store) for name, store in built.items()}
    else:
        fresh = _fresh(experiment, stores)
        owners = {name: _with_fresh(experiment, name, cut, stores) for name, cut in fresh.items()}
    data = {}
    for name, choice in experiment.recipe.legs.items():
        of = choice.patches_of
        data[name] = owners[name] if of is None else _taking(experiment, name, owners[of])
    return data


def _taking(experiment: Experiment, name: str, owner: LegData) -> LegData:
    """The data of a leg that takes the patches of another."""
    choice, task = experiment.recipe.cutting(name), experiment.tasks[name]
    theirs = owner.leg
    photos = taken_by_leg(experiment.manifest, choice).photos
    said = {p.id: _said(task, p) for p in photos}
    store = theirs.store
    stored: Sequence[str] = store.column("photo") if isinstance(store, PatchStore) else ()  # type: ignore[assignment]
    plan = experiment.plans[theirs.name].only("train")
    of_photo = _numbers([said.get(p.id, np.nan) for p in plan.manifest.photos])
    both = _numbers([said.get(str(i), np.nan) for i in stored]), of_photo[plan.photo]
    leg = replace(
        theirs, name=name, task=task, weight=choice.weight, patches_of=theirs.name, said=both
    )
    held = task.known(leg.held_labels) if len(leg.validation) else leg.validation
    return replace(owner, leg=replace(leg, validation=leg.validation[held]))


def _numbers(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _said(task: Task, photo: PhotoRecord) -> float:
    """What a photo says of its patches for a task: a class, or that their own labels count."""
    if not task.column:
        return AS_GIVEN
    name = label_of(photo, task.column)
    return float(task.classes.index(name)) if name in task.classes else np.nan


def _store(name: str, plan: PatchPlan, stores: Path) -> PatchStore:
    store = build_store(plan, stores / f"{name}-{plan.hash[:12]}")
    store.verify()
    return store


def _fixed(experiment: Experiment, name: str, store: PatchStore) -> LegData:
    leg = leg_of(experiment, name, store)
    return LegData(leg, store.hash, store.facts["count"], store.facts["skipped"], store.folder.name)


def leg_of(experiment: Experiment, name: str, store: PatchStore) -> Leg:
    """A leg with its patches in a store; photos may have been lost since they were planned."""
    choice, task = experiment.recipe.legs[name], experiment.tasks[name]
    rows = store.rows("train")
    require_a_batch(f"The leg {name!r}", len(rows), choice.batch_size)
    strata = _strata(choice, task, store.label[rows], store.column("device")[rows])
    return Leg(
        name, task, store, rows, store.rows("validation"), choice.batch_size, choice.weight, strata
    )


def _strata(
    choice: LegChoice, task: Task, labels: NDArray[Any], devices: NDArray[np.str_]
) -> NDArray[np.int64] | None:
    """Class and device of each row, where these are drawn equally often."""
    if not (task.column and choice.balance == "draw"):
        return None
    device = np.unique(devices, return_inverse=True)[1]
    return np.stack([labels.astype(np.int64), device], axis=1)


def _fresh(experiment: Experiment, stores: Path) -> dict[str, FreshPatches]:
    """The legs' patches that train, cut from one set of decoded photos."""
    plans = {name: plan.only("train") for name, plan in experiment.plans.items()}
    every = {p.sha256: p for plan in plans.values() for p in plan.manifest.photos}
    photos = Manifest(tuple(every.values()), experiment.manifest.root)
    settings = next(iter(plans.values())).settings  # channels and quality are the recipe's
    folder = stores / f"decoded-{decoded_key(photos, settings)[:12]}"
    decoded = decode_photos(photos, settings, folder)
    turned = experiment.recipe.training.turned
    return {name: FreshPatches(plan, decoded, turned) for name, plan in plans.items()}


def _with_fresh(experiment: Experiment, name: str, fresh: FreshPatches, stores: Path) -> LegData:
    choice, task = experiment.recipe.legs[name], experiment.tasks[name]
    held = experiment.plans[name].only("validation")
    store = _store(name, held, stores) if len(held) else None
    rows, plan = fresh.rows, fresh.plan
    require_a_batch(f"The leg {name!r}", len(rows), choice.batch_size)
    devices = np.array([p.device_id for p in plan.manifest.photos])
    strata = _strata(choice, task, plan.label[rows], devices[plan.photo[rows]])
    validation = store.rows("validation") if store else np.arange(0)
    leg = Leg(name, task, store, rows, validation, choice.batch_size, choice.weight, strata, fresh)
    used = {p.id for p in plan.manifest.photos}
    return LegData(
        leg,
        f"{fresh.hash}{store.hash if store else ''}",
        {**(store.facts["count"] if store else {}), "train": plan.count("train", rows).tolist()},
        [*(s for s in fresh.photos.skipped if s["id"] in used),
         *(store.facts["skipped"] if store else ())],
    )  # fmt: skip
