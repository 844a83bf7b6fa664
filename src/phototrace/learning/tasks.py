"""The tasks of a network: the one place that knows a task's label, output, loss and metric.

A task has classes or a range. What gives a patch its label is a manifest column, or an edit. To
add a task, add an entry to `TASKS`; recipes then name it, and nothing else changes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from phototrace.errors import DamagedError, UsageError
from phototrace.patches.chains import KINDS, ChainEdits
from phototrace.patches.manipulations import MANIPULATIONS, Edits, NamedEdits, QualityEdits
from phototrace.patches.plan import label_of
from phototrace.photos.manifest import PhotoRecord

NOTHING = -1
"""The label of a patch of which a task asks nothing."""


@dataclass(frozen=True)
class Task:
    """What a network predicts of a patch: one of several classes, or a number.

    Attributes:
        name: What recipes and reports call it.
        classes: Ordered class names; the network's outputs stand in this order. None yet, where
            the photos are to say which there are.
        range: Lowest and highest number, for a task without classes.
        unit: Of the number and its error, in the plural.
        column: Of the manifest, where a photo's entry is the label of its patches.
        edits: What is done to a patch, where that is its label.
    """

    name: str
    classes: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    unit: str = ""
    column: str = ""
    edits: Edits | None = None

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for a patch: one a class, or one in all."""
        return len(self.classes) or 1

    @property
    def metric(self) -> str:
        """What `score` and `figure` give: "accuracy", or "error" in the task's unit."""
        return "error" if self.range else "accuracy"

    def labels(self, said: NDArray[Any]) -> NDArray[Any]:
        """The task's labels `(n,)` by those of its patches: `NOTHING`, or NaN, where it has none.

        Class indices int64, or numbers float32.
        """
        if isinstance(self.edits, ChainEdits):
            said = self.edits.read(self.name, said)
        if self.range is not None:
            return said.astype(np.float32)
        return np.where(np.isnan(said), NOTHING, said).astype(np.int64)

    def known(self, labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Which labels `(n,)` say something."""
        known: NDArray[np.bool_] = ~np.isnan(labels) if self.range else labels != NOTHING
        return known

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """L_t of a leg: the mean over its batch, in float32 or better; 0 where none has a label.

        Cross-entropy, or the smooth absolute error as a share of half the range.

        Args:
            scores: `(n, outputs)`, what the network gives.
            labels: `(n,)` class indices int64, or numbers float32; see `labels`.
        """
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        if self.range is None:
            total = F.cross_entropy(scores, labels, ignore_index=NOTHING, reduction="sum")
            return total / (labels != NOTHING).sum().clamp(min=1)
        middle, half = _middle(self.range)
        known = ~labels.isnan()
        wanted = (labels.nan_to_num().to(scores.dtype) - middle) / half
        off = F.smooth_l1_loss(scores[:, 0], wanted, beta=0.1, reduction="none")
        return (off * known).sum() / known.sum().clamp(min=1)

    def score(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Number of correct patches, or the sum of the absolute errors; a number on the device."""
        if self.range is None:
            return (scores.argmax(1) == labels).sum()
        return (self._numbers(scores.double()) - labels).abs().nansum()

    def count(self, labels: Tensor) -> Tensor:
        """How many labels say something; a number on the device."""
        return (~labels.isnan() if self.range else labels != NOTHING).sum()

    def answer(self, scores: Tensor) -> NDArray[np.float32]:
        """The predictions: `(n, classes)` probabilities, or `(n,)` numbers in the range."""
        if self.range is None:
            return F.softmax(scores.double(), dim=1).float().cpu().numpy()
        return self._numbers(scores.double()).float().cpu().numpy()

    def figure(self, answers: NDArray[np.float32], labels: NDArray[Any]) -> float:
        """How good predictions are: balanced accuracy in 0..1, or the mean absolute error.

        Of patches without a label nothing is asked; NaN where none has one.
        """
        known = self.known(labels)
        answers, labels = answers[known], labels[known]
        if not len(labels):
            return float("nan")
        if self.range is not None:
            return float(np.mean(np.abs(answers - labels)))
        right = answers.argmax(axis=1) == labels
        return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))

    def spelled(self, figure: float) -> str:
        """A figure as people read it: "97.5%", "3.2 quality steps"."""
        return f"{figure:.1f} {self.unit}" if self.range else f"{figure:.1%}"

    def of_row(self, row: Mapping[str, Any]) -> str:
        """The validation figure in a row of a run's metrics, in words."""
        figure = row.get(f"validation_{self.metric}")
        said = "not measured" if figure is None else self.spelled(figure)
        return f"{row['leg']} {self.metric} {said}"

    def among(self, photos: Iterable[PhotoRecord], wanted: Sequence[str] = ()) -> Task:
        """The task with its classes: those wanted, in their order, or all that there are.

        Raises `UsageError` where one is not there, or fewer than two are.
        """
        if self.range is not None:
            if wanted:
                raise UsageError(f"The task {self.name!r} has a range, no classes. Leave them out.")
            return self
        known = self.classes
        if self.column:
            known = tuple(sorted({label_of(r, self.column) for r in photos} - {""}))
        missing = [name for name in wanted if name not in known]
        if missing:
            raise UsageError(
                f"There is no class {missing[0]!r} for the task {self.name!r}. "
                f"The classes are: {', '.join(known)}."
            )
        classes = tuple(wanted) or known
        if len(classes) < 2:
            raise UsageError(f"The task {self.name!r} has fewer than two classes in these photos.")
        return replace(self, classes=classes)

    def facts(self) -> dict[str, Any]:
        """The task as a saved model describes it, in plain values."""
        limits = list(self.range) if self.range else None
        return {"task": self.name, "classes": list(self.classes), "range": limits,
                "unit": self.unit}  # fmt: skip

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], where: str) -> Task:
        """The task that `facts` describe, with its label where `TASKS` knows the name.

        Raises `DamagedError` where they make no sense.
        """
        try:
            name, unit, classes = facts["task"], facts["unit"], tuple(facts["classes"])
            limits = None if facts["range"] is None else tuple(map(float, facts["range"]))
            sound = isinstance(facts["classes"], list) and len(set(classes)) == len(classes)
            sound = sound and all(isinstance(text, str) for text in (name, unit, *classes))
            if limits is None:
                sound = sound and len(classes) >= 2
            else:
                low, high = limits
                sound = sound and not classes and -1e9 < low < high < 1e9
        except (KeyError, TypeError, ValueError, OverflowError):
            sound = False
        if not sound:
            raise DamagedError(f"{where} describes a task that makes no sense. Restore it.")
        return replace(TASKS.get(name, cls(name)), classes=classes, range=limits, unit=unit)  # type: ignore[arg-type]

    def _numbers(self, scores: Tensor) -> Tensor:
        assert self.range is not None
        middle, half = _middle(self.range)
        return (middle + half * scores[:, 0]).clamp(*self.range)


def _middle(limits: tuple[float, float]) -> tuple[float, float]:
    """Middle of a range, and half its length."""
    low, high = limits
    return (low + high) / 2, (high - low) / 2


TASKS = {
    task.name: task
    for task in (
        Task("manipulation", tuple(MANIPULATIONS), edits=NamedEdits(MANIPULATIONS)),
        Task("camera", column="camera"),
        Task("make", column="make"),
        Task("edit", KINDS, edits=ChainEdits()),
        Task("recompressed", ("not recompressed", "recompressed"), edits=ChainEdits()),
        Task("jpeg-quality", range=(50.0, 95.0), unit="quality steps", edits=QualityEdits(50, 95)),
    )
}
"""Every task that recipes can name.

The paper's A (Table 1), and its B and C; the maker alone; the kind of the last edit, whatever its
strength; whether a photo was recompressed since the camera; and a number.
"""


def known_task(name: str) -> str:
    """`name`, or a `ValueError` that says which tasks there are."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"there is no such task.{meant} The tasks: {', '.join(TASKS)}")
    return name
