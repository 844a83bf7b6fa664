"""How accurate a run is, on what, and how certain that is: worked out from its predictions.

Every share comes with 95 % intervals that draw whole photos, whole devices and whole scenes again
(see `intervals`), and with the numbers of patches, photos, devices and scenes behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.evidence.intervals import CONFIDENCE, Figure, Trials, counted
from phototrace.evidence.patch_table import PatchTable
from phototrace.evidence.predictions import Predictions

VERSION = 1
SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities below this count as this, so that one patch cannot outweigh all others."""
BINS = 15


@dataclass(frozen=True)
class ClassResult:
    """One true class: its recall and its precision."""

    name: str
    recall: Figure | None
    """None where no test patch is of this class."""
    precision: float | None
    """None where no patch was predicted as this class."""


@dataclass(frozen=True)
class GroupResult:
    """One device or scene."""

    name: str
    seen: bool | None
    """Whether training had photos of it; None where nobody can say."""
    accuracy: Figure


@dataclass(frozen=True)
class PhotoResult:
    """One photo; its decisions are one for each true label and way of editing it was tested in."""

    photo: str
    device: str
    scene: str
    patches: int
    right: int
    decisions: int
    decisions_right: int
    mistaken_for: str
    """The most frequent wrong class of its patches, "" if none."""


@dataclass(frozen=True)
class Stratum:
    """A part of the test set, such as all patches of devices that training never saw."""

    what: str
    value: str
    accuracy: Figure
    photo_accuracy: Figure


@dataclass(frozen=True)
class Evaluation:
    """All results of one run on one test set."""

    task: str
    classes: tuple[str, ...]
    run: str
    run_hash: str
    split_hash: str
    data_hash: str
    predictions_hash: str
    seed: int
    resamples: int
    accuracy: Figure
    """Share of patches classified correctly."""
    balanced_accuracy: Figure
    """Mean over the true classes of the share classified correctly."""
    photo_accuracy: Figure
    """Photo-level accuracy: the share of correct decisions on photos. All patches of one photo with
    the same true label and editing get the class of the highest mean log probability."""
    decisions: int
    log_loss: float
    """Mean of -ln(probability of the true class), in nats."""
    calibration_error: float
    """Expected gap between stated probability and share correct, over 15 equal bins, in [0, 1]."""
    confusion: tuple[tuple[int, ...], ...]
    """Patches by true class (row) and predicted class (column)."""
    by_class: tuple[ClassResult, ...]
    strata: tuple[Stratum, ...]
    by_device: tuple[GroupResult, ...]
    by_scene: tuple[GroupResult, ...]
    by_photo: tuple[PhotoResult, ...]
    """Every photo, those with the smallest share of correct patches first."""
    notes: tuple[str, ...]
    """What the test set cannot show, in sentences."""

    @property
    def confusion_shares(self) -> tuple[tuple[float | None, ...], ...]:
        """The confusion matrix with each row divided by its sum; None where that is 0."""
        return tuple(
            tuple(count / sum(row) if sum(row) else None for count in row) for row in self.confusion
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN, None for what does not exist."""
        head = {"format": "evaluation", "version": VERSION, "confidence": CONFIDENCE}
        return {**head, **plain(self), "confusion_shares": plain(self.confusion_shares)}


def plain(value: object) -> Any:
    """Dataclasses and tuples to dicts and lists; a `Figure` also gets the interval to quote."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, Figure):
            found |= {"low": value.low, "high": value.high, "method": value.method}
        return found
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def evaluate(predictions: Predictions, *, seed: int = 0, resamples: int = 2000) -> Evaluation:
    """Work out how accurate `predictions` are.

    The same predictions, seed and number of resamples give the same figures to the last digit.

    Raises:
        UsageError: if there are no predictions, they are compact, or resamples is below 100.
    """
    require_enough(predictions, resamples)
    patches = patch_trials(predictions, seed, resamples)
    photos, first = _photo_trials(predictions, patches)
    confusion = _confusion(predictions)
    by_class = tuple(_by_class(predictions.classes, confusion, patches))
    by_device = _by_group(predictions, "device", patches)
    by_scene = _by_group(predictions, "scene", patches)
    return Evaluation(
        task=predictions.task,
        classes=predictions.classes,
        run=predictions.run,
        run_hash=predictions.run_hash,
        split_hash=predictions.split_hash,
        data_hash=predictions.data_hash,
        predictions_hash=predictions.hash,
        seed=seed,
        resamples=resamples,
        accuracy=patches.figure(),
        balanced_accuracy=patches.figure(balanced=True),
        photo_accuracy=photos.figure(),
        decisions=len(photos.value),
        log_loss=_log_loss(predictions),
        calibration_error=_calibration_error(predictions),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        by_class=by_class,
        strata=tuple(_strata(predictions, patches, photos, first)),
        by_device=tuple(by_device),
        by_scene=tuple(by_scene),
        by_photo=tuple(_by_photo(predictions, patches, photos)),
        notes=tuple(_notes(predictions)),
    )


def require_enough(table: PatchTable, resamples: int) -> None:
    """Raise `UsageError` if there is nothing to evaluate, or resamples is below 100."""
    if len(table) == 0:
        raise UsageError("There is no prediction to evaluate: the test part has no patches.")
    if resamples < 100:
        raise UsageError(f"An interval needs at least 100 resamples, not {resamples}.")


def patch_trials(predictions: Predictions, seed: int = 0, resamples: int = 2000) -> Trials:
    """Every patch as one trial, 1 where it was classified correctly."""
    right = (predictions.predicted == predictions.label).astype(np.float64)
    return trials_of(predictions, right, predictions.label, seed, resamples)


def trials_of(
    table: PatchTable,
    value: NDArray[np.float64],
    label: NDArray[np.int64],
    seed: int,
    resamples: int,
) -> Trials:
    """Every patch as one trial of that value, (n,) in [-1, 1], and that label, (n,)."""
    names = {name: getattr(table, name) for name in ("photo", "device", "scene")}
    return Trials(
        value=value,
        label=label,
        patches=np.ones(len(table), dtype=np.int64),
        seed=seed,
        resamples=resamples,
        **{name: np.unique(values, return_inverse=True)[1] for name, values in names.items()},
    )


def photo_trials(
    patches: Trials, first: NDArray[np.int64], unit: NDArray[np.int64], value: NDArray[np.float64]
) -> Trials:
    """Decisions on photos as trials.

    Args:
        patches: Every patch as a trial, (n,).
        first: (d,) index of one patch of each decision.
        unit: (n,) which decision each patch is part of.
        value: (d,) of each decision.
    """
    return Trials(
        value=value,
        label=patches.label[first],
        photo=patches.photo[first],
        device=patches.device[first],
        scene=patches.scene[first],
        patches=np.bincount(unit),
        seed=patches.seed,
        resamples=patches.resamples,
    )


def _photo_trials(predictions: Predictions, patches: Trials) -> tuple[Trials, NDArray[np.int64]]:
    """Decisions on photos, and for each the index of one of its patches."""
    _, editing = np.unique(predictions.editing, return_inverse=True)
    unit = (patches.photo * (editing.max() + 1) + editing) * len(predictions.classes)
    _, first, unit = np.unique(unit + patches.label, return_index=True, return_inverse=True)
    logs = np.log(np.maximum(predictions.chances, SMALLEST), dtype=np.float64)
    sums = np.stack([np.bincount(unit, column) for column in logs.T], axis=1)
    right = np.argmax(sums, axis=1) == patches.label[first]
    return photo_trials(patches, first, unit, right.astype(np.float64)), first


def _confusion(predictions: Predictions) -> NDArray[np.int64]:
    k = len(predictions.classes)
    cells = predictions.label * k + predictions.predicted
    counts: NDArray[np.int64] = np.bincount(cells, minlength=k * k).reshape(k, k)
    return counts


def _by_class(
    classes: tuple[str, ...], confusion: NDArray[np.int64], patches: Trials
) -> Iterator[ClassResult]:
    for index, name in enumerate(classes):
        named = int(confusion[:, index].sum())
        chosen = patches.label == index
        yield ClassResult(
            name=name,
            recall=patches.figure(chosen) if chosen.any() else None,
            precision=float(confusion[index, index] / named) if named else None,
        )


def _by_group(predictions: Predictions, what: str, patches: Trials) -> Iterator[GroupResult]:
    for name, seen, chosen in groups(predictions, what):
        yield GroupResult(name, seen, patches.figure(chosen))


def groups(table: PatchTable, what: str) -> Iterator[tuple[str, bool | None, NDArray[np.bool_]]]:
    """Each "device" or "scene": its name, whether training met it, and which rows are its own."""
    names, met, known = getattr(table, what), getattr(table, f"seen_{what}"), table.known(what)
    values, index = np.unique(names, return_inverse=True)
    for number, name in enumerate(values.tolist()):
        chosen = index == number
        seen = bool(met[chosen].any())
        yield name, seen if seen or known[chosen].any() else None, chosen


def _strata(
    predictions: Predictions, patches: Trials, photos: Trials, first: NDArray[np.int64]
) -> Iterator[Stratum]:
    for what, value, chosen in conditions(predictions):
        yield Stratum(what, value, patches.figure(chosen), photos.figure(chosen[first]))


def conditions(table: PatchTable) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Parts of a test set, which may overlap: what sets them apart, its value, and which rows.

    Parts without a patch are left out.
    """
    parts: list[tuple[str, str, NDArray[np.bool_]]] = [
        ("editing", name, table.editing == name)
        for name in np.unique(table.editing).tolist()
        if name
    ]
    for what, seen in (("device", table.seen_device), ("scene", table.seen_scene)):
        known = table.known(what)
        parts += [(what, "seen in training", seen & known), (what, "never seen", ~seen & known)]
    yield from (part for part in parts if part[2].any())


def _by_photo(predictions: Predictions, patches: Trials, photos: Trials) -> list[PhotoResult]:
    names, first, count = np.unique(predictions.photo, return_index=True, return_counts=True)
    k = len(predictions.classes)
    wrong = patches.value == 0
    cells = patches.photo[wrong] * k + predictions.predicted[wrong]
    mistakes = np.bincount(cells, minlength=len(names) * k).reshape(-1, k)
    right = np.bincount(patches.photo, patches.value)
    decisions = np.bincount(photos.photo)
    decisions_right = np.bincount(photos.photo, photos.value)
    results = [
        PhotoResult(
            photo=str(name),
            device=str(predictions.device[first[index]]),
            scene=str(predictions.scene[first[index]]),
            patches=int(count[index]),
            right=int(right[index]),
            decisions=int(decisions[index]),
            decisions_right=int(decisions_right[index]),
            mistaken_for=predictions.classes[int(np.argmax(mistakes[index]))]
            if mistakes[index].any()
            else "",
        )
        for index, name in enumerate(names)
    ]
    return sorted(results, key=lambda result: (result.right / result.patches, result.photo))


def _log_loss(predictions: Predictions) -> float:
    given = predictions.chances[np.arange(len(predictions)), predictions.label]
    return float(-np.log(np.clip(given, SMALLEST, 1), dtype=np.float64).mean())


def _calibration_error(predictions: Predictions) -> float:
    stated = np.minimum(predictions.chances.max(axis=1).astype(np.float64), 1)
    right = predictions.predicted == predictions.label
    index = np.minimum((stated * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(index, stated) - np.bincount(index, right)
    return float(np.abs(gaps).sum() / len(stated))


def _notes(predictions: Predictions) -> Iterator[str]:
    """What the choice of test photos leaves open."""
    yield from unseen_notes(predictions)
    tested = [np.unique(predictions.label), np.unique(predictions.device)]
    missing = len(predictions.classes) - len(tested[0])
    if missing:
        yield f"{missing} of {len(predictions.classes)} classes had no test patch."
    single = sum(
        len(np.unique(predictions.device[predictions.label == index])) == 1 for index in tested[0]
    )
    if single and len(tested[1]) > 1:
        yield (
            f"{single} of {len(tested[0])} classes were tested on one device only: their"
            " accuracy on another device is not known."
        )
    yield from scene_notes(predictions)


def unseen_notes(table: PatchTable) -> Iterator[str]:
    """Whether devices and scenes that training never saw were tested at all."""
    for what, seen in (("device", table.seen_device), ("scene", table.seen_scene)):
        if seen.all() and table.told:
            yield (
                f"Training had photos of every {what} tested here: the figures say nothing about"
                f" {what}s not seen in training."
            )


def scene_notes(table: PatchTable) -> Iterator[str]:
    """How many photos are of an unknown device or scene."""
    strange = len(np.unique(table.photo[~table.known("device")]))
    if strange and table.told:
        yield (
            f"The device of {counted(strange, 'photo')} is unknown: whether training had photos of"
            " it cannot be said."
        )
    unknown = len(np.unique(table.photo[table.scene == ""]))
    if unknown:
        yield f"The scene of {counted(unknown, 'photo')} is unknown; they count as one scene."
