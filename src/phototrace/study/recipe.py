"""StudyRecipe: the collection, the three tasks and the settings of a whole study, from TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from phototrace.learning.recipe import (
    FolderName,
    LegChoice,
    NetworkChoice,
    Part,
    Photos,
    SplitChoice,
    TrainingChoice,
    read_toml,
    validated,
)
from phototrace.learning.tasks import TASKS as KNOWN
from phototrace.patches.manipulations import NamedEdits

TASKS = ("A", "B", "C")
"""The paper's: manipulation, camera models, and further camera models of which photos are few."""


MAX_SEED = 2**32 - 101
"""Every generator takes seeds below 2^32, and `--seeds` counts up to 100."""


class Tasks(Part):
    """A, B and C. Cameras of C are left out of A and B, so that C is new to both."""

    A: LegChoice
    B: LegChoice
    C: LegChoice

    @model_validator(mode="after")
    def _of_the_right_kind(self) -> Tasks:
        asked = {name: KNOWN[getattr(self, name).task] for name in TASKS}
        if any(getattr(self, name).patches_of for name in TASKS):
            raise ValueError("'patches_of' is not for a study: each task has patches of its own.")
        if not isinstance(asked["A"].edits, NamedEdits):
            raise ValueError("'tasks.A.task' must be about manipulations: 'manipulation'.")
        for name in ("B", "C"):
            if asked[name].column != "camera":
                raise ValueError(f"'tasks.{name}.task' must be about the camera model: 'camera'.")
        return self


class TransferChoice(TrainingChoice):
    """How the stages above a frozen trunk are trained (paper Sec. 5.2)."""

    learning_rate: float = Field(allow_inf_nan=False, default=5e-3, gt=0)
    batch_size: int = Field(default=100, ge=2)


class TreesChoice(Part):
    """The extremely randomised trees (paper Sec. 5.3.1): how many, and on how many patches.

    `patches` is the most of the target task's training patches that they are grown on; 0 takes all.
    """

    number: int = Field(default=800, ge=1)
    patches: int = Field(default=0, ge=0)


class StudyRecipe(Part):
    """All choices of a study.

    Attributes:
        illustration: Whether it is too small to be evidence; every page then says so.
        seed: Of split, cutting and the first training; further seeds count up from it.
        tasks: What each task asks and which patches it takes. `classes` may use the names of the
            paper's Table 1.
        network: The network; share depths are the study's own.
        depths: Share depths in order; empty takes every stage below the output.
        training: Single tasks and multitask. In A+B+C, C's batch is such that it shows its patches
            about once an epoch, as in the paper.
        transfer: The stages above a frozen trunk.
        trees: The forests.
        margin: By how many points unified features, and a transfer at the first depth, may fall
            short and still count as equal.
        note: What readers should know of the photos, in a sentence or two.
    """

    version: Literal[1] = 1
    name: FolderName
    illustration: bool = False
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    note: str = ""
    photos: Photos = Photos()
    split: SplitChoice = SplitChoice()
    network: NetworkChoice = NetworkChoice()
    tasks: Tasks
    depths: list[str] = Field(default=[])
    training: TrainingChoice = TrainingChoice()
    transfer: TransferChoice = TransferChoice()
    trees: TreesChoice = TreesChoice()
    margin: float = Field(allow_inf_nan=False, default=1.0, gt=0)

    @model_validator(mode="after")
    def _depths_are_the_studys(self) -> StudyRecipe:
        if self.network.share_depth is not None or self.network.trunk_from is not None:
            raise ValueError("'network' of a study has no share_depth and no trunk_from: 'depths'.")
        if len(set(self.depths)) < len(self.depths):
            raise ValueError("'depths' names a stage twice.")
        if len(self.depths) == 1:
            raise ValueError("'depths' names one stage: a trend over depth needs two or more.")
        if self.training.seed is not None or self.transfer.seed is not None:
            raise ValueError("'training.seed' is the study's 'seed', counted up by --seeds.")
        return self

    @classmethod
    def load(cls, path: Path) -> StudyRecipe:
        """Read and validate a study's recipe; raises `UsageError` as `Recipe.load` does."""
        return validated(cls, read_toml(path), str(path))

    def choices(self) -> dict[str, Any]:
        """All that it says as plain values, but for how a folder is read: the photos tell that."""
        return self.model_dump(mode="json", exclude={"photos": {"corpus"}})
