"""What a network can be asked: a name, ordered classes, and how a patch gets its label."""

from __future__ import annotations

from dataclasses import dataclass

from phototrace.patches.manipulations import MANIPULATIONS
from phototrace.patches.plan import MANIPULATION


@dataclass(frozen=True)
class Task:
    """A question with a closed set of answers.

    Attributes:
        name: What recipes and reports call it.
        classes: Ordered class names; the network's outputs stand in this order.
        label: `"manipulation"` (the operation applied), or the manifest field with the class.
    """

    name: str
    classes: tuple[str, ...]
    label: str


T_A = Task("manipulation", tuple(MANIPULATIONS), MANIPULATION)
"""The paper's manipulation detection task (Table 1)."""


def camera_task(cameras: tuple[str, ...]) -> Task:
    """Camera model identification among the given models (paper's tasks B and C)."""
    return Task("camera", cameras, "camera")
