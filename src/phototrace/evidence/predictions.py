"""What a run predicted for each patch, with the ids of photo, device and scene that go with it.

Everything about a run's accuracy is worked out from this one table. Where the answer is one of
several classes it is `Predictions`, where it is a number in a range `NumberPredictions`. What was
said is kept in the float32 it was computed in, so the named class of a loaded table is bit for bit
that of the saved one.

Most of a table's size is probabilities. `Predictions.compact` keeps the named class alone, a
twelfth of the size, from which all can be worked out that asks only what was right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.patch_table import PatchTable, Types, check_texts, read_table

FULL, COMPACT, IN_A_RANGE = "predictions", "compact predictions", "number predictions"


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions(PatchTable):
    """Predictions of one of `k` classes: their probabilities, or only the predicted class.

    Raises:
        UsageError: if shapes differ, a label is not in 0..k-1, a probability is not in [0, 1],
            a row of probabilities does not sum to 1 within 1e-3, or there are neither
            probabilities nor named classes, or both.
    """

    LABEL: ClassVar[type[np.generic]] = np.int64

    classes: tuple[str, ...]
    label: NDArray[np.int64]
    """(n,) index of the true class."""
    probabilities: NDArray[np.float32] | None = None
    """(n, k), each row sums to 1; None in a compact table."""
    named: NDArray[np.uint16] | None = None
    """(n,) index of the named class in a compact table, else None; see `predicted`."""
    made_from: str = ""
    """Of a compact table, the hash of the full table whose rows these are."""

    @property
    def format(self) -> str:
        """What a file calls this table."""
        return FULL if self.named is None else COMPACT

    def _check(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        check_texts("classes", list(self.classes))
        n, k = len(self.label), len(self.classes)
        if k == 0 or len(set(self.classes)) != k:
            raise UsageError("Predictions need at least one class, each named once.")
        if n and (self.label.min() < 0 or self.label.max() >= k):
            raise UsageError(f"Predictions: labels must be in 0..{k - 1}.")
        check_texts("made_from", [self.made_from])
        if self.named is None:
            if self.probabilities is None or self.made_from:
                raise UsageError("Predictions need probabilities, unless they are compact.")
            self._set("probabilities", np.float32, (n, k))
            _check_probabilities(self.probabilities)
            return
        if self.probabilities is not None or not self.made_from:
            raise UsageError(
                "Compact predictions have no probabilities, and name the full table by its hash."
            )
        self._set("named", np.uint16, (n,))
        if n and self.named.max() >= k:
            raise UsageError(f"Predictions: named classes must be in 0..{k - 1}.")

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """(n,) index of the likeliest class; the first of them where several are equal."""
        if self.named is not None:
            return self.named.astype(np.int64)
        likeliest: NDArray[np.int64] = np.argmax(self.chances, axis=1).astype(np.int64)
        return likeliest

    @property
    def full_hash(self) -> str:
        """Hash of the full table: this one's, or that of the one that this one was made from."""
        return self.made_from or self.hash

    @property
    def chances(self) -> NDArray[np.float32]:
        """The probabilities, (n, k).

        Raises:
            UsageError: in a compact table, which has none.
        """
        if self.probabilities is None:
            raise UsageError(
                f"The predictions of {self.run} are compact: only the predicted class of each patch"
                " was kept. Log loss, calibration and decisions on photos need the probabilities"
                f" of the full table, whose hash is {self.made_from}. Evaluate the run again."
            )
        return self.probabilities

    def compact(self) -> Predictions:
        """The same with only the predicted class of each patch; a compact table is given back."""
        if self.named is not None:
            return self
        if len(self.classes) > np.iinfo(np.uint16).max:
            raise UsageError(f"{len(self.classes)} classes are too many for a compact table.")
        named = self.predicted.astype(np.uint16)
        return replace(self, probabilities=None, named=named, made_from=self.hash)

    def _own_facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"classes": self.classes}
        return facts if self.named is None else {**facts, "made_from": self.made_from}

    def _own_arrays(self) -> tuple[str, ...]:
        return ("probabilities",) if self.named is None else ("named",)

    def _own_columns(self) -> dict[str, NDArray[Any]]:
        if self.named is not None:
            return {"named": self.named}
        names = _chance_names(len(self.classes))
        return dict(zip(names, self.chances.T, strict=True))

    @classmethod
    def _own_types(cls, facts: Mapping[str, Any]) -> Types:
        if facts["format"] == COMPACT:
            return {"named": np.uint16}
        return dict.fromkeys(_chance_names(len(facts["classes"])), np.float32)

    @classmethod
    def _of(
        cls, facts: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], **common: Any
    ) -> Self:
        classes = tuple(facts["classes"])
        if facts["format"] == COMPACT:
            named, made_from = columns["named"], facts["made_from"]
            return cls(classes=classes, named=named, made_from=made_from, **common)
        chances = np.stack([columns[name] for name in _chance_names(len(classes))], axis=1)
        return cls(classes=classes, probabilities=chances, **common)

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            DamagedError: if the file is missing, cut short, changed, or not such a table.
        """
        table = load_predictions(path)
        if not isinstance(table, cls):
            raise DamagedError(f"{path} holds numbers in a range where classes were expected.")
        return table


@dataclass(frozen=True, eq=False, kw_only=True)
class NumberPredictions(PatchTable):
    """Answers that are a number in a range.

    Raises:
        UsageError: if shapes differ, the range is not two finite numbers that rise, a true value
            is not in it, or an answer is not finite.
    """

    LABEL: ClassVar[type[np.generic]] = np.float32

    unit: str
    """What the numbers count, in the plural, such as "quality steps"."""
    range: tuple[float, float]
    """The lowest and the highest true value there can be."""
    label: NDArray[np.float32]
    """(n,) the true value, in the range."""
    value: NDArray[np.float32]
    """(n,) the answer; finite, and in the range or not."""

    @property
    def format(self) -> str:
        """What a file calls this table."""
        return IN_A_RANGE

    def _check(self) -> None:
        check_texts("unit", [self.unit])
        object.__setattr__(self, "range", _checked_range(self.range))
        self._set("value", np.float32, (len(self.label),))
        low, high = np.array(self.range, dtype=np.float32)
        # Written so that NaN fails it too.
        if not np.all((self.label >= low) & (self.label <= high)):
            raise UsageError(
                f"Predictions: true values must be in {self.range[0]:g} to {self.range[1]:g}."
            )
        if not np.all(np.isfinite(self.value)):
            raise UsageError("Predictions: values must be finite.")

    def _own_facts(self) -> dict[str, Any]:
        return {"unit": self.unit, "range": list(self.range)}

    def _own_arrays(self) -> tuple[str, ...]:
        return ("value",)

    def _own_columns(self) -> dict[str, NDArray[Any]]:
        return {"value": self.value}

    @classmethod
    def _own_types(cls, facts: Mapping[str, Any]) -> Types:
        return {"value": np.float32}

    @classmethod
    def _of(
        cls, facts: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], **common: Any
    ) -> Self:
        return cls(unit=facts["unit"], range=facts["range"], value=columns["value"], **common)

    @classmethod
    def load(cls, path: Path) -> NumberPredictions:
        """Read what `save` wrote.

        Raises:
            DamagedError: if the file is missing, cut short, changed, or not such a table.
        """
        table = load_predictions(path)
        if not isinstance(table, cls):
            raise DamagedError(f"{path} holds classes where numbers in a range were expected.")
        return table


def load_predictions(path: Path) -> Predictions | NumberPredictions:
    """Read what `save` of either kind wrote; the file says which it is.

    Raises:
        DamagedError: if the file is missing, cut short, changed, or not such a table.
    """
    classes: dict[str, type[PatchTable]] = {FULL: Predictions, COMPACT: Predictions}
    table = read_table(path, {**classes, IN_A_RANGE: NumberPredictions})
    assert isinstance(table, Predictions | NumberPredictions)
    return table


def _check_probabilities(chances: NDArray[np.float32]) -> None:
    if len(chances) == 0:
        return
    # Written so that NaN fails it too.
    if not (chances.min() >= 0 and chances.max() <= 1 + 1e-3):
        raise UsageError("Predictions: probabilities must be finite and in [0, 1].")
    if np.abs(chances.sum(axis=1, dtype=np.float64) - 1).max() > 1e-3:
        raise UsageError("Predictions: each patch's probabilities must sum to 1.")


def _chance_names(k: int) -> list[str]:
    return [f"probability_{index}" for index in range(k)]


def _checked_range(given: Any) -> tuple[float, float]:
    """Two numbers that rise, also as float32."""
    most = float(np.finfo(np.float32).max)
    sound = (
        isinstance(given, tuple | list)
        and len(given) == 2
        # Compared before they are converted: a whole number can be too large for a float.
        and all(isinstance(end, int | float) and -most <= end <= most for end in given)
        and bool(np.float32(given[0]) < np.float32(given[1]))
    )
    if not sound:
        raise UsageError("Predictions: a range is two finite numbers, the lower one first.")
    return float(given[0]), float(given[1])
