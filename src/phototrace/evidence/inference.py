"""A run on photos that it has not seen: one prediction a patch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.evidence.kinds import AnyPredictions, with_classes
from phototrace.evidence.predictions import NumberPredictions, Predictions
from phototrace.learning.leaks import recognised
from phototrace.learning.model import BATCH
from phototrace.learning.network import Backbone
from phototrace.learning.preparing import patch_settings, taken, taken_by_leg, task_of_leg
from phototrace.learning.run import Run
from phototrace.learning.tasks import Task
from phototrace.patches.building import build_store
from phototrace.patches.plan import PatchPlan, label_of, plan_patches
from phototrace.patches.store import PatchStore
from phototrace.photos.completing import with_traces
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.remembered import Recognised
from phototrace.photos.splits import Split

if TYPE_CHECKING:
    from phototrace.learning.detector import Detector


@dataclass(frozen=True)
class Tested:
    """Predictions of one leg of a run, which photos were left out and why, and what to mind.

    Attributes:
        leg: Its name.
        predictions: One row a patch.
        photos: Number of photos tested.
        left_out: Reason -> number of photos.
        unreadable: Path -> why it could not be read.
        cautions: Sentences on training photos that might be among those tested.
    """

    leg: str
    predictions: AnyPredictions
    photos: int
    left_out: Mapping[str, int]
    unreadable: Mapping[str, str]
    cautions: Sequence[str] = ()


def predict_photos(
    run: Run,
    manifest: Manifest,
    stores: Path,
    *,
    leg: str | None = None,
    backbone: Backbone | None = None,
) -> Tested:
    """Predict every patch of the photos that a leg of the run may be tested on; first by default.

    Photos of the run's own test part, and photos that it has never met, are tested. Left out and
    counted are those that any of its legs or its trunk was trained or validated on, those that look
    the same or share a burst with one (`remembered.recognise`), those its split kept out of every
    part, those that its recipe does not take, and cameras that it does not know. All patches that
    the recipe's cutting gives are tested, whether or not classes are balanced.
    """
    leg = leg or next(iter(run.tasks))
    chosen = _choose(run, leg, manifest, stores)
    name = title(run, leg)
    said = predict_store(run, leg, chosen.store, name, backbone=backbone, found=chosen.found)
    return _tested(run, leg, chosen, said)


def predict_store(
    run: Run,
    leg: str,
    store: PatchStore,
    name: str,
    *,
    backbone: Backbone | None = None,
    found: Recognised | None = None,
) -> AnyPredictions:
    """Predictions of a leg of a run for every patch of a store, none of them trained on.

    `name` is what reports call the run. Whether training met a patch's device and scene is as
    `found` has it, or else by their names.
    """
    model = run.model(backbone=backbone)
    rows = _labelled(run, leg, store)
    pieces = np.split(rows, range(BATCH, len(rows), BATCH))
    said = model.answers_of(
        map(store.read, pieces), leg, label=f"Testing {name}", total=len(pieces)
    )
    return _predictions(run, leg, name, model.hash, store, rows, np.concatenate(list(said)), found)


def detect_photos(
    detector: Detector, run: Run, leg: str, manifest: Manifest, stores: Path, name: str
) -> Tested:
    """Predictions of a detector for the photos that a leg of `run` may be tested on.

    The rest is as in `predict_photos` and `detect_store`.
    """
    _require_one_split(detector, run)
    chosen = _choose(run, leg, manifest, stores)
    said = detect_store(detector, run, leg, chosen.store, name, found=chosen.found)
    return _tested(run, leg, chosen, said)


def detect_store(
    detector: Detector,
    run: Run,
    leg: str,
    store: PatchStore,
    name: str,
    *,
    found: Recognised | None = None,
) -> Predictions:
    """Predictions of a detector for every patch of a store; its photos must have trained neither.

    The detector was fitted on training patches of a leg of `run`, with labels as in its store; its
    features may be another run's of the same split (else its training photos might be tested:
    `UsageError`). `name` and `found` are as in `predict_store`.
    """
    _require_one_split(detector, run)
    rows = _labelled(run, leg, store)
    features = detector.extractor.transform_store(store)[rows]
    probabilities = np.zeros((len(features), len(run.tasks[leg].classes)), dtype=np.float32)
    probabilities[:, np.asarray(detector.classes_, dtype=np.int64)] = detector.predict_proba(
        features
    )
    model = detector.extractor.origin.model
    return with_classes(_predictions(run, leg, name, model, store, rows, probabilities, found))


def _require_one_split(detector: Detector, run: Run) -> None:
    source = detector.extractor.loaded()
    if source.config.trained_on.get("split") != run.split["hash"]:
        raise UsageError(
            f"The model {source.name} and {run.folder} have different splits: photos that one "
            "was trained on might test the other. Train both from recipes with the same [photos] "
            "and [split]."
        )


@dataclass(frozen=True)
class _Chosen:
    """The patches that a leg may be tested on, and how many photos were left out and why."""

    store: PatchStore
    left_out: Counter[str]
    found: Recognised


def _choose(run: Run, leg: str, manifest: Manifest, stores: Path) -> _Chosen:
    task = _task_of(run, leg)
    by_all = taken(with_traces(manifest, stores), run.recipe.photos)
    found = recognised(run, by_all)
    kept, left_out = _testable(run, leg, manifest, by_all, found)
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise UsageError(
            f"No photo is left to test {run.folder} on ({leg}): {reasons or 'none given'}."
        )
    plan = _plan(run, leg, task, Manifest(photos=tuple(kept), root=manifest.root))
    store = build_store(plan, stores / f"{leg}-test-{plan.hash[:12]}")
    if plan.too_small:
        left_out["too small for a patch"] = len(plan.too_small)
    spare = len(kept) - len(plan.manifest.photos) - len(plan.too_small)
    if spare:
        left_out["not needed, because others give enough patches"] = spare
    return _Chosen(store, left_out, found)


def _tested(run: Run, leg: str, chosen: _Chosen, predictions: AnyPredictions) -> Tested:
    store = chosen.store
    return Tested(
        leg=leg,
        predictions=predictions,
        photos=len(np.unique(store.column("photo"))),
        left_out=chosen.left_out,
        unreadable={s["path"]: s["reason"] for s in store.facts["skipped"]},
        cautions=tuple(_recognition(run)),
    )


def _recognition(run: Run) -> Iterator[str]:
    """Why training photos, or their devices, might not have been recognised."""
    known = run.trained
    if known is None:
        yield (
            f"{run.name} comes without the list that training photos are recognised by: copies of "
            "them may be among those tested, and it is not known which devices and scenes it met."
        )
    elif not known.key:
        yield (
            f"{run.name} comes without the key to the list of its training photos: it is not known "
            "which devices and scenes it met. Copies of its photos are recognised, bursts are not."
        )
    elif not known.complete:
        yield (
            f"The list of training photos of {run.name} lacks those of the run that its trunk is "
            "from: copies of these may be among those tested."
        )


def title(run: Run, leg: str) -> str:
    """What reports call a leg: the run's name, with the leg's where it has several."""
    return run.name if len(run.tasks) == 1 else f"{run.name} ({leg})"


def _task_of(run: Run, leg: str) -> Task:
    if leg not in run.tasks:
        raise UsageError(f"{run.folder} has no leg {leg!r}. Its legs: {', '.join(run.tasks)}.")
    return task_of_leg(run.recipe, leg, run.tasks[leg])


_RECOGNISED = {
    "same file": "used in training",
    "resaved": "that look the same as one used in training",
    "same burst": "in a burst with a photo used in training",
}


def _testable(
    run: Run, leg: str, manifest: Manifest, by_all: Manifest, found: Recognised
) -> tuple[list[PhotoRecord], Counter[str]]:
    task = run.tasks[leg]
    by_leg = {r.id: r for r in taken_by_leg(by_all, run.recipe.cutting(leg)).photos}
    kept: list[PhotoRecord] = []
    left_out: Counter[str] = Counter()
    for record in manifest.photos:
        named = by_leg.get(record.id)
        if named is None:
            left_out["not chosen by the recipe"] += 1
        elif record.id in found.reasons:
            left_out[_RECOGNISED[found.reasons[record.id]]] += 1
        elif record.sha256 in run.split["excluded"]:
            left_out["excluded by the split"] += 1
        elif task.column and not label_of(named, task.column):
            left_out[f"of unknown {task.column}"] += 1
        elif task.column and label_of(named, task.column) not in task.classes:
            left_out[f"of a {task.column} that the run was not trained on"] += 1
        else:
            kept.append(named)
    return kept, left_out


def _plan(run: Run, leg: str, task: Task, manifest: Manifest) -> PatchPlan:
    settings = patch_settings(run.recipe, run.recipe.cutting(leg), task)
    everything = Split(
        by=run.recipe.split.by,
        seed=run.recipe.seed,
        part={r.id: "test" for r in manifest.photos},
        excluded={},
        hash=run.split["hash"],
    )
    return plan_patches(manifest, everything, replace(settings, balanced=False), parts=["test"])


def _labelled(run: Run, leg: str, store: PatchStore) -> NDArray[np.int64]:
    """The rows of a store of which a leg's task asks something."""
    task = _task_of(run, leg)
    return np.flatnonzero(task.known(task.labels(store.label)))


def _predictions(
    run: Run,
    leg: str,
    name: str,
    run_hash: str,
    store: PatchStore,
    rows: NDArray[np.int64],
    said: NDArray[np.float32],
    found: Recognised | None,
) -> AnyPredictions:
    """A table of what was said: `(n, classes)` probabilities, or `(n,)` numbers."""
    task, known = _task_of(run, leg), run.trained
    photo, device, scene = (store.column(name)[rows] for name in ("photo", "device", "scene"))
    if found is not None:
        seen = np.isin(photo, list(found.device)), np.isin(photo, list(found.scene))
    elif known is not None:
        seen = known.met("device", device), known.met("scene", scene)
    else:
        seen = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    shared: dict[str, Any] = {
        "task": task.name,
        "run": name,
        "run_hash": run_hash,
        "split_hash": run.split["hash"],
        "data_hash": store.hash,
        "label": task.labels(store.label[rows]),
        "photo": photo,
        "device": device,
        "scene": scene,
        "camera": store.column("camera")[rows],
        "editing": store.column("editing")[rows],
        "row": store.column("row")[rows].astype(np.int64),
        "column": store.column("column")[rows].astype(np.int64),
        "seen_device": seen[0],
        "seen_scene": seen[1],
        "told": known is not None and known.tells_devices,
    }
    if task.range is not None:
        return NumberPredictions(unit=task.unit, range=task.range, value=said, **shared)
    return Predictions(classes=task.classes, probabilities=said, **shared)
