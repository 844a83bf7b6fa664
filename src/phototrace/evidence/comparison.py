"""Two runs on the same patches: by how much one is more accurate, or nearer to the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.evidence.evaluation import patch_trials, plain
from phototrace.evidence.intervals import Figure, Interval
from phototrace.evidence.numbers import errors_of, in_units
from phototrace.evidence.patch_table import PatchTable
from phototrace.evidence.predictions import NumberPredictions, Predictions

VERSION = 1
Table = TypeVar("Table", bound=PatchTable)


@dataclass(frozen=True)
class GroupDifference:
    """The difference on one device."""

    name: str
    patches: int
    photos: int
    difference: float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Run `a` against run `b`, on the patches that both were tested on."""

    FORMAT: ClassVar[str]

    a: str
    b: str
    a_hash: str
    b_hash: str
    seed: int
    resamples: int
    matched: int
    only_a: int
    """Patches that only `a` was tested on; they are left out."""
    only_b: int
    difference: Figure
    """Above 0 where `a` is better."""
    by_device: tuple[GroupDifference, ...]
    notes: tuple[str, ...]

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval to quote leaves out "no difference"."""
        return excludes_zero(self.difference.interval)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        head = {"format": self.FORMAT, "version": VERSION, "excludes_zero": self.excludes_zero}
        return {**head, **plain(self)}


@dataclass(frozen=True, kw_only=True)
class Comparison(Paired):
    """Accuracy of run `a` less that of run `b`; the difference is in [-1, 1]."""

    FORMAT: ClassVar[str] = "comparison"

    accuracy_a: float
    accuracy_b: float
    both_right: int
    a_right: int
    """Patches that only `a` classified correctly."""
    b_right: int
    both_wrong: int


@dataclass(frozen=True, kw_only=True)
class NumberComparison(Paired):
    """Mean absolute error of run `b` less that of run `a`; all errors are in the unit."""

    FORMAT: ClassVar[str] = "number comparison"

    unit: str
    range: tuple[float, float]
    error_a: float
    error_b: float
    a_nearer: int
    """Patches on which `a` was nearer to the true value."""
    b_nearer: int


def excludes_zero(interval: Interval) -> bool:
    """Whether all of the interval is above zero, or all below."""
    return interval.low > 0 or interval.high < 0


def compare(a: Predictions, b: Predictions, *, seed: int = 0, resamples: int = 2000) -> Comparison:
    """The paired difference in accuracy on the patches that both `a` and `b` hold.

    Patches are the same where photo, row, column, editing and true label are.

    Raises:
        UsageError: if the classes differ, no patch is in both, or one table holds a patch twice.
    """
    if a.classes != b.classes:
        raise UsageError(
            f"{a.run} and {b.run} have different classes and cannot be compared patch by patch."
            " Compare runs of one task."
        )
    rows_a, rows_b, shared = _matched(a, b)
    right_a = (a.predicted == a.label)[rows_a]
    right_b = (b.predicted == b.label)[rows_b]
    value = right_a.astype(np.float64) - right_b
    trials = replace(patch_trials(shared, seed, resamples), value=value)
    return Comparison(
        **_common(a, b, shared, value),
        seed=seed,
        resamples=resamples,
        accuracy_a=float(right_a.mean()),
        accuracy_b=float(right_b.mean()),
        difference=trials.figure(signed=True),
        both_right=int(np.sum(right_a & right_b)),
        a_right=int(np.sum(right_a & ~right_b)),
        b_right=int(np.sum(~right_a & right_b)),
        both_wrong=int(np.sum(~right_a & ~right_b)),
    )


def compare_numbers(
    a: NumberPredictions, b: NumberPredictions, *, seed: int = 0, resamples: int = 2000
) -> NumberComparison:
    """The paired difference in absolute error on the patches that both `a` and `b` hold.

    Raises:
        UsageError: if units or ranges differ, no patch is in both, or one table holds a patch
            twice.
    """
    if (a.unit, a.range) != (b.unit, b.range):
        raise UsageError(
            f"{a.run} and {b.run} have different units or ranges and cannot be compared patch by"
            " patch. Compare runs of one task."
        )
    _, rows_b, shared = _matched(a, b)
    errors_a = errors_of(shared, seed, resamples)
    off_a = np.abs(errors_a.signed)
    off_b = np.abs(b.value.astype(np.float64) - b.label)[rows_b]
    value = off_b - off_a
    # No difference of two errors is larger than the larger of them.
    scale = max(errors_a.scale, float(off_b.max()))
    trials = replace(errors_a.trials, value=value / scale)
    return NumberComparison(
        **_common(a, b, shared, value),
        seed=seed,
        resamples=resamples,
        difference=in_units(trials.figure(signed=True), scale),
        unit=a.unit,
        range=a.range,
        error_a=float(off_a.mean()),
        error_b=float(off_b.mean()),
        a_nearer=int(np.sum(value > 0)),
        b_nearer=int(np.sum(value < 0)),
    )


def _common(
    a: PatchTable, b: PatchTable, shared: PatchTable, value: NDArray[np.float64]
) -> dict[str, Any]:
    """What every kind of comparison has; `value` is the difference on each shared patch, (n,)."""
    return {
        "a": _name(a, b),
        "b": _name(b, a),
        "a_hash": a.hash,
        "b_hash": b.hash,
        "matched": len(value),
        "only_a": len(a) - len(value),
        "only_b": len(b) - len(value),
        "by_device": tuple(_by_device(shared, value)),
        "notes": tuple(_notes(a, b, len(value))),
    }


def _name(table: PatchTable, other: PatchTable) -> str:
    """The run's name, told from the other's where both are called the same."""
    return table.run if table.run != other.run else f"{table.run} ({table.hash[:8]})"


def _matched(a: Table, b: Table) -> tuple[NDArray[np.int64], NDArray[np.int64], Table]:
    """Row numbers in `a` (rising) and in `b` of the patches both hold, and those rows of `a`."""
    columns = []
    for name in ("photo", "editing", "row", "column", "label"):
        together = np.concatenate([getattr(a, name), getattr(b, name)])
        columns.append(np.unique(together, return_inverse=True)[1])
    _, key = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    keys = key.ravel()[: len(a)], key.ravel()[len(a) :]
    for table, found in zip((a, b), keys, strict=True):
        if len(np.unique(found)) < len(found):
            raise UsageError(
                f"The predictions of {table.run} hold a patch more than once (same photo, place,"
                " editing and label), so they cannot be paired. Evaluate the run again."
            )
    _, rows_a, rows_b = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    if len(rows_a) == 0:
        raise UsageError(
            f"{a.run} and {b.run} were tested on no patch in common. Evaluate both on the same"
            " photos and split."
        )
    order = np.argsort(rows_a)
    return rows_a[order], rows_b[order], a.select(np.isin(np.arange(len(a)), rows_a))


def _by_device(shared: PatchTable, value: NDArray[np.float64]) -> Iterator[GroupDifference]:
    for name in np.unique(shared.device).tolist():
        chosen = shared.device == name
        yield GroupDifference(
            name=name,
            patches=int(chosen.sum()),
            photos=len(np.unique(shared.photo[chosen])),
            difference=float(value[chosen].mean()),
        )


def _notes(a: PatchTable, b: PatchTable, matched: int) -> Iterator[str]:
    if a.split_hash != b.split_hash:
        yield "The two runs were trained on different splits of the photos."
    for table in (a, b):
        if len(table) > matched:
            yield (
                f"{len(table) - matched:,} of {len(table):,} patches of {table.run} have no"
                " counterpart and are left out."
            )
