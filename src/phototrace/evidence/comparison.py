"""Two runs on the same patches: by how much one is more accurate than the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.evidence.evaluation import patch_trials, plain
from phototrace.evidence.intervals import Figure, Interval
from phototrace.evidence.predictions import Predictions

VERSION = 1


@dataclass(frozen=True)
class GroupDifference:
    """The difference on one device."""

    name: str
    patches: int
    photos: int
    difference: float


@dataclass(frozen=True)
class Comparison:
    """Accuracy of run `a` minus accuracy of run `b`, on the patches that both were tested on."""

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
    accuracy_a: float
    accuracy_b: float
    difference: Figure
    """In [-1, 1]; above 0 where `a` is better."""
    both_right: int
    a_right: int
    """Patches that only `a` classified correctly."""
    b_right: int
    both_wrong: int
    by_device: tuple[GroupDifference, ...]
    notes: tuple[str, ...]

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval to quote leaves out "no difference"."""
        return excludes_zero(self.difference.interval)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        head = {"format": "comparison", "version": VERSION, "excludes_zero": self.excludes_zero}
        return {**head, **plain(self)}


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
    rows_a, rows_b = _matched(a, b)
    right_a = (a.predicted == a.label)[rows_a]
    right_b = (b.predicted == b.label)[rows_b]
    value = right_a.astype(np.float64) - right_b
    shared = a.select(np.isin(np.arange(len(a)), rows_a))
    trials = replace(patch_trials(shared, seed, resamples), value=value)
    return Comparison(
        a=_name(a, b),
        b=_name(b, a),
        a_hash=a.hash,
        b_hash=b.hash,
        seed=seed,
        resamples=resamples,
        matched=len(value),
        only_a=len(a) - len(value),
        only_b=len(b) - len(value),
        accuracy_a=float(right_a.mean()),
        accuracy_b=float(right_b.mean()),
        difference=trials.figure(signed=True),
        both_right=int(np.sum(right_a & right_b)),
        a_right=int(np.sum(right_a & ~right_b)),
        b_right=int(np.sum(~right_a & right_b)),
        both_wrong=int(np.sum(~right_a & ~right_b)),
        by_device=tuple(_by_device(shared, value)),
        notes=tuple(_notes(a, b, len(value))),
    )


def _name(table: Predictions, other: Predictions) -> str:
    """The run's name, told from the other's where both are called the same."""
    return table.run if table.run != other.run else f"{table.run} ({table.hash[:8]})"


def _matched(a: Predictions, b: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers in `a` (rising) and in `b` of the patches that both hold."""
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
    return rows_a[order], rows_b[order]


def _by_device(shared: Predictions, value: NDArray[np.float64]) -> Iterator[GroupDifference]:
    for name in np.unique(shared.device).tolist():
        chosen = shared.device == name
        yield GroupDifference(
            name=name,
            patches=int(chosen.sum()),
            photos=len(np.unique(shared.photo[chosen])),
            difference=float(value[chosen].mean()),
        )


def _notes(a: Predictions, b: Predictions, matched: int) -> Iterator[str]:
    if a.split_hash != b.split_hash:
        yield "The two runs were trained on different splits of the photos."
    for table in (a, b):
        if len(table) > matched:
            yield (
                f"{len(table) - matched:,} of {len(table):,} patches of {table.run} have no"
                " counterpart and are left out."
            )
