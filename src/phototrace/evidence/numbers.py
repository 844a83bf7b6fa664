"""How far a run's predictions are from the truth, for tasks with a number in a range.

The figure to quote is the mean absolute error, in the task's own unit. Like the shares of
`evaluation` it comes with 95 % intervals that draw whole photos, devices and scenes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.evidence.evaluation import (
    conditions,
    groups,
    photo_trials,
    plain,
    require_enough,
    scene_notes,
    trials_of,
    unseen_notes,
)
from phototrace.evidence.intervals import CONFIDENCE, Figure, Interval, Trials, counted
from phototrace.evidence.predictions import NumberPredictions

VERSION = 1
BINS = 10
TOLERANCES = (0.02, 0.05, 0.10)
"""Shares of the range."""


@dataclass(frozen=True)
class Within:
    """How many predictions are no further from the truth than some tolerance."""

    tolerance: float
    """In the unit."""
    of_range: float
    """The same as a share of the range."""
    share: Figure
    """Share of patches, in [0, 1]."""


@dataclass(frozen=True)
class NumberBin:
    """The patches whose true value lies in one tenth of the range; None where there is none."""

    low: float
    high: float
    error: Figure | None
    """Mean absolute error, in the unit."""
    bias: float | None
    """Mean of prediction minus true value."""
    spread: float | None
    """Standard deviation of prediction minus true value."""
    answers: tuple[float, float, float] | None
    """10th percentile, median and 90th percentile of the predictions."""
    true_median: float | None
    """Median of the true values."""


@dataclass(frozen=True)
class NumberGroup:
    """One device or scene."""

    name: str
    seen: bool | None
    """Whether training had photos of it; None where nobody can say."""
    error: Figure
    bias: float


@dataclass(frozen=True)
class NumberPhoto:
    """One photo: mean absolute error and mean error of its patches, in the unit."""

    photo: str
    device: str
    scene: str
    patches: int
    error: float
    bias: float


@dataclass(frozen=True)
class NumberStratum:
    """A part of the test set, such as all patches of devices that training never saw."""

    what: str
    value: str
    error: Figure
    bias: float
    photo_error: Figure | None


@dataclass(frozen=True)
class NumberEvaluation:
    """All results of one run on one test set; errors are in the unit."""

    task: str
    unit: str
    range: tuple[float, float]
    run: str
    run_hash: str
    split_hash: str
    data_hash: str
    predictions_hash: str
    seed: int
    resamples: int
    error: Figure
    """Mean absolute error."""
    bias: Figure
    """Mean of prediction minus true value: above 0 where predictions are too high."""
    median_error: float
    """Median absolute error."""
    within: tuple[Within, ...]
    middle: float
    """The middle of the range, and below the mean absolute error of always predicting it."""
    middle_error: float
    photo_error: Figure | None
    """Mean absolute error at photo level: all patches of one photo with the same true value and
    editing get the median of their predictions. None where these are fewer than two on average."""
    decisions: int
    by_bin: tuple[NumberBin, ...]
    """Ten equal parts of the range."""
    strata: tuple[NumberStratum, ...]
    by_device: tuple[NumberGroup, ...]
    by_scene: tuple[NumberGroup, ...]
    by_photo: tuple[NumberPhoto, ...]
    """Every photo, those with the largest mean absolute error first."""
    notes: tuple[str, ...]
    """What the test set cannot show, in sentences."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN, None for what does not exist."""
        head = {"format": "number evaluation", "version": VERSION, "confidence": CONFIDENCE}
        return {**head, **plain(self)}


def evaluate_numbers(
    predictions: NumberPredictions, *, seed: int = 0, resamples: int = 2000
) -> NumberEvaluation:
    """Work out how far `predictions` are from the truth.

    The same predictions, seed and number of resamples give the same figures to the last digit.

    Raises:
        UsageError: if there are no predictions, or resamples is below 100.
    """
    require_enough(predictions, resamples)
    errors = errors_of(predictions, seed, resamples)
    photos, first = _photo_errors(predictions, errors)
    off, middle = np.abs(errors.signed), float(np.mean(predictions.range))
    table = predictions
    result = NumberEvaluation(
        task=table.task,
        unit=table.unit,
        range=table.range,
        run=table.run,
        run_hash=table.run_hash,
        split_hash=table.split_hash,
        data_hash=table.data_hash,
        predictions_hash=table.hash,
        seed=seed,
        resamples=resamples,
        error=errors.figure(),
        bias=errors.bias(),
        median_error=float(np.median(off)),
        within=tuple(_within(predictions, errors)),
        middle=middle,
        middle_error=float(np.abs(table.label.astype(np.float64) - middle).mean()),
        photo_error=photos.figure() if photos else None,
        decisions=len(first),
        by_bin=tuple(_by_bin(predictions, errors)),
        strata=tuple(_strata(predictions, errors, photos, first)),
        by_device=tuple(_by_group(table, "device", errors)),
        by_scene=tuple(_by_group(table, "scene", errors)),
        by_photo=tuple(_by_photo(predictions, errors)),
        notes=(),
    )
    return replace(result, notes=tuple(_notes(predictions, result)))


@dataclass(frozen=True)
class Errors:
    """Errors of patches, or of decisions on photos, and the means of any of them."""

    trials: Trials
    """Values are prediction minus true value as a share of `scale`, in [-1, 1]."""
    scale: float
    """The range, or the largest error where that is larger: intervals need errors within bounds."""

    @property
    def signed(self) -> NDArray[np.float64]:
        """(n,) prediction minus true value, in the unit."""
        return self.trials.value * self.scale

    def figure(self, chosen: NDArray[np.bool_] | None = None) -> Figure:
        """Mean absolute error of the chosen, in the unit, with intervals."""
        off = replace(self.trials, value=np.abs(self.trials.value))
        return in_units(off.figure(chosen), self.scale)

    def bias(self, chosen: NDArray[np.bool_] | None = None) -> Figure:
        """Mean error of the chosen, in the unit, with intervals."""
        return in_units(self.trials.figure(chosen, signed=True), self.scale)


def errors_of(predictions: NumberPredictions, seed: int, resamples: int) -> Errors:
    """The error of every patch."""
    signed = predictions.value.astype(np.float64) - predictions.label
    scale = max(predictions.range[1] - predictions.range[0], float(np.abs(signed).max()))
    alike = np.zeros(len(predictions), dtype=np.int64)
    return Errors(trials_of(predictions, signed / scale, alike, seed, resamples), scale)


def in_units(figure: Figure, scale: float) -> Figure:
    """A share of `scale` as a number in the unit of `scale`, with its intervals."""
    intervals = tuple(
        replace(one, low=one.low * scale, high=one.high * scale) for one in figure.intervals
    )
    return replace(figure, value=figure.value * scale, intervals=intervals)


def too_few(interval: Interval) -> bool:
    """Whether an interval of a mean error rests on so few clusters that it is not worth showing.

    The exact method then gives bounds that span much of the range, however small the errors are.
    """
    return "exact" in interval.method and not interval.reliable


def _photo_errors(
    predictions: NumberPredictions, errors: Errors
) -> tuple[Errors | None, NDArray[np.int64]]:
    """Errors of decisions (None where most are of one patch), and of each the index of a patch."""
    columns = [
        np.unique(values, return_inverse=True)[1]
        for values in (predictions.photo, predictions.editing, predictions.label)
    ]
    _, first, unit = np.unique(
        np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    unit = unit.ravel()
    if 2 * len(first) > len(predictions):
        return None, first
    # A decision's patches all have one true value: the median of errors is the error of the median.
    value = _medians(errors.trials.value, unit)
    return replace(errors, trials=photo_trials(errors.trials, first, unit, value)), first


def _medians(values: NDArray[np.float64], unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median of the values, (n,), of each unit 0..d-1, none of them empty; (d,)."""
    ordered = values[np.lexsort((values, unit))]
    count = np.bincount(unit)
    start = np.cumsum(count) - count
    middle: NDArray[np.float64] = (
        ordered[start + (count - 1) // 2] + ordered[start + count // 2]
    ) / 2
    return middle


def _within(predictions: NumberPredictions, errors: Errors) -> Iterator[Within]:
    width = predictions.range[1] - predictions.range[0]
    for share in TOLERANCES:
        tolerance = share * width
        hit = (np.abs(errors.signed) <= tolerance).astype(np.float64)
        yield Within(tolerance, share, replace(errors.trials, value=hit).figure())


def _by_bin(predictions: NumberPredictions, errors: Errors) -> Iterator[NumberBin]:
    edges = np.linspace(*predictions.range, BINS + 1)
    # float32 labels may lie a little beyond the ends.
    index = np.clip(np.searchsorted(edges, predictions.label, side="right") - 1, 0, BINS - 1)
    for number in range(BINS):
        low, high = float(edges[number]), float(edges[number + 1])
        chosen = index == number
        if not chosen.any():
            yield NumberBin(low, high, None, None, None, None, None)
            continue
        signed = errors.signed[chosen]
        tenth, median, ninetieth = np.quantile(
            predictions.value[chosen].astype(np.float64), [0.1, 0.5, 0.9]
        ).tolist()
        yield NumberBin(
            low=low,
            high=high,
            error=errors.figure(chosen),
            bias=float(signed.mean()),
            spread=float(signed.std()),
            answers=(tenth, median, ninetieth),
            true_median=float(np.median(predictions.label[chosen])),
        )


def _by_group(table: NumberPredictions, what: str, errors: Errors) -> Iterator[NumberGroup]:
    for name, seen, chosen in groups(table, what):
        bias = float(errors.signed[chosen].mean())
        yield NumberGroup(name, seen, errors.figure(chosen), bias)


def _strata(
    predictions: NumberPredictions,
    errors: Errors,
    photos: Errors | None,
    first: NDArray[np.int64],
) -> Iterator[NumberStratum]:
    for what, value, chosen in conditions(predictions):
        yield NumberStratum(
            what=what,
            value=value,
            error=errors.figure(chosen),
            bias=float(errors.signed[chosen].mean()),
            photo_error=photos.figure(chosen[first]) if photos else None,
        )


def _by_photo(predictions: NumberPredictions, errors: Errors) -> list[NumberPhoto]:
    names, first, index, count = np.unique(
        predictions.photo, return_index=True, return_inverse=True, return_counts=True
    )
    off = np.bincount(index, np.abs(errors.signed)) / count
    bias = np.bincount(index, errors.signed) / count
    results = [
        NumberPhoto(
            photo=str(name),
            device=str(predictions.device[first[number]]),
            scene=str(predictions.scene[first[number]]),
            patches=int(count[number]),
            error=float(off[number]),
            bias=float(bias[number]),
        )
        for number, name in enumerate(names)
    ]
    return sorted(results, key=lambda result: (-result.error, result.photo))


def _notes(predictions: NumberPredictions, result: NumberEvaluation) -> Iterator[str]:
    """What the choice of test photos leaves open, and what the figures alone do not tell."""
    yield from unseen_notes(predictions)
    if result.error.high >= result.middle_error:
        yield (
            f"Not clearly better than always predicting {result.middle:g}, the middle of the range,"
            f" whose mean error is {result.middle_error:.3g} {result.unit}."
        )
    empty = sum(one.error is None for one in result.by_bin)
    if empty:
        yield f"{empty} of {BINS} equal parts of the range had no test patch."
    outside = (predictions.value < result.range[0]) | (predictions.value > result.range[1])
    if outside.any():
        count = counted(int(outside.sum()), "prediction")
        yield f"{count} lay outside the range; they count as given."
    yield from scene_notes(predictions)
