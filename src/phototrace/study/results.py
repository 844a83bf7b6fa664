"""Results of a study, worked out from its stored predictions and from nothing else.

Every figure is a share of test patches, equally many of each class; repetitions with other seeds
are averaged patch by patch, so that intervals over photos, devices and scenes still hold.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.evaluation import patch_trials
from phototrace.evidence.intervals import Figure, Trials, mean_of
from phototrace.evidence.predictions import Predictions
from phototrace.study.paper import ACCURACY, Key

RESAMPLES = 2000
LEDGER = "study.json"
VERSION = 1


@dataclass(frozen=True)
class Score:
    """One cell: its accuracy, and what it cost.

    Attributes:
        key: Which cell.
        accuracy: Mean over seeds, with intervals.
        by_seed: Accuracy of each seed.
        paper: The paper's figure, or None.
        retrained: Parameters trained for the target alone (all of a network of its own).
        patches: Training patches of the target task.
        steps: Optimiser steps; 0 for trees.
        seconds: Of training, mean over seeds.
        run_hashes: Of the network, or of the network whose features the trees use, by seed.
        predictions_hashes: Of the predictions in full, by seed; see `is_listed`.
    """

    key: Key
    accuracy: Figure
    by_seed: tuple[float, ...]
    paper: float | None
    retrained: int
    patches: int
    steps: int
    seconds: float
    run_hashes: tuple[str, ...]
    predictions_hashes: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """The stored predictions of a study.

    Attributes:
        facts: What `study.json` says: recipe, classes, photos, hashes, machine.
        records: Key -> its records, one a seed.
        predictions: Key -> its predictions, one a seed; all of one target hold the same patches.
    """

    facts: Mapping[str, Any]
    records: Mapping[Key, Sequence[Mapping[str, Any]]]
    predictions: Mapping[Key, Sequence[Predictions]]

    @classmethod
    def load(cls, folder: Path) -> Answers:
        """Read `study.json` and every predictions file that it lists.

        Raises:
            UsageError: There is no finished study in the folder.
            DamagedError: A file is missing, has changed, or does not go with the others.
        """
        facts, answers = _ledger(folder)
        records: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
        found: dict[Key, list[Predictions]] = defaultdict(list)
        for record in answers:
            key = Key(
                record["target"], record["way"], record["features"], record["depth"] or ""
            )  # fmt: skip
            one = Predictions.load(folder / record["file"])
            if not is_listed(one, record):
                raise DamagedError(
                    f"{folder / record['file']} is not what {LEDGER} lists. Run the study again."
                )
            records[key].append(record)
            found[key].append(one)
        _require_same_patches(found, folder)
        return cls(facts, dict(records), dict(found))

    @property
    def depths(self) -> tuple[str, ...]:
        """Share depths, shallow to deep."""
        return tuple(self.facts["depths"])

    @property
    def seed(self) -> int:
        """Of the intervals' draws."""
        return int(self.facts["seeds"][0])

    def right(self, key: Key) -> NDArray[np.float64]:
        """Of each test patch, the share of seeds that classified it correctly, `(n,)`."""
        shares = [p.predicted == p.label for p in self.predictions[key]]
        return np.mean(shares, axis=0)  # type: ignore[no-any-return]

    @cached_property
    def _trials(self) -> dict[str, Trials]:
        """Target -> its test patches as trials; the values are put in as needed."""
        first = {key.target: found[0] for key, found in self.predictions.items()}
        return {
            target: patch_trials(one, self.seed, RESAMPLES) for target, one in first.items()
        }  # fmt: skip

    def trials(self, target: str, value: NDArray[np.float64]) -> Trials:
        """The test patches of a task with a value each."""
        return replace(self._trials[target], value=value)

    def accuracy(self, key: Key) -> Figure:
        """Share of patches classified correctly, balanced over classes."""
        return self.figure(key.target, self.right(key))

    def difference(self, a: Key, b: Key) -> Figure:
        """Accuracy of `a` minus accuracy of `b`, patch by patch; both of one target."""
        return self.figure(a.target, self.right(a) - self.right(b), signed=True)

    def figure(self, target: str, value: NDArray[np.float64], *, signed: bool = False) -> Figure:
        """Mean of a value of each test patch of a task, every class counting alike."""
        uneven = bool(self._groups(target).any())
        return self.trials(target, value).figure(balanced=uneven, signed=signed)

    def _groups(self, target: str) -> NDArray[np.int64]:
        """The classes, where they have unequal numbers of test patches; else one group for all."""
        label = self._trials[target].label
        return label if len(np.unique(np.bincount(label))) > 1 else np.zeros_like(label)

    def score(self, key: Key) -> Score:
        """The cell with all that goes with it."""
        records = self.records[key]
        return Score(
            key=key,
            accuracy=self.accuracy(key),
            by_seed=tuple(
                mean_of((p.predicted == p.label).astype(np.float64), self._groups(key.target))
                for p in self.predictions[key]
            ),
            paper=ACCURACY.get(key),
            retrained=int(records[0]["retrained"]),
            patches=int(records[0]["patches"]),
            steps=int(records[0]["steps"]),
            seconds=float(np.mean([record["seconds"] for record in records])),
            run_hashes=tuple(p.run_hash for p in self.predictions[key]),
            predictions_hashes=tuple(p.full_hash for p in self.predictions[key]),
        )

    def scores(self) -> dict[Key, Score]:
        """Every cell of the study."""
        return {key: self.score(key) for key in sorted(self.predictions)}


def is_listed(predictions: Predictions, record: Mapping[str, Any]) -> bool:
    """Whether these are the predictions that a study's record lists, in full or compact.

    `predictions_hash` is always that of the full table; where the file was made compact since,
    `compact_hash` is that of what the file holds.
    """
    held = record.get("compact_hash", record["predictions_hash"])
    listed = (held, record["predictions_hash"])
    return (predictions.hash, predictions.full_hash) == listed


def _ledger(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    path = folder / LEDGER
    if not path.is_file():
        raise UsageError(f"There is no finished study in {folder}. Run it without --check first.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        answers = facts.pop("answers")
        wanted = {"target", "way", "features", "depth", "file", "predictions_hash"}
        sound = all(
            wanted <= one.keys()
            and ".." not in Path(one["file"]).parts
            and not Path(one["file"]).is_absolute()
            for one in answers
        ) and {"depths", "seeds", "recipe", "classes"} <= facts.keys()  # fmt: skip
        version = facts["version"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        sound, version = False, VERSION
    if version != VERSION:
        raise DamagedError(
            f"{path} is of version {version}; this phototrace reads version {VERSION}."
        )
    if not sound:
        raise DamagedError(f"{path} cannot be read. Run the study again: nothing is trained twice.")
    return facts, answers


def _require_same_patches(found: Mapping[Key, Sequence[Predictions]], folder: Path) -> None:
    first: dict[str, Predictions] = {}
    for key, several in found.items():
        for one in several:
            other = first.setdefault(key.target, one)
            same = all(
                np.array_equal(getattr(one, name), getattr(other, name))
                for name in ("photo", "row", "column", "editing", "label")
            )
            if not same or one.classes != other.classes:
                raise DamagedError(
                    f"In {folder}, {one.run} and {other.run} were tested on different patches of "
                    f"task {key.target}. Run the study again in another --out."
                )
