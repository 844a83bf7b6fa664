"""A study's plan as text and as plain values: what will run, on what, and what it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from phototrace.evidence.formatting import lowest_to_highest, shown
from phototrace.photos.dealing import PARTS
from phototrace.study.counts import photos_per_class, plan_facts
from phototrace.study.estimating import Estimate
from phototrace.study.plan import StudyPlan
from phototrace.study.recipe import TASKS
from phototrace.study.running import clock

LISTED = 8
"""Notes on photos and split that the text has before it counts the rest."""


def plan_dict(plan: StudyPlan, taken: Estimate) -> dict[str, Any]:
    """The plan as plain values for JSON."""
    split = plan.experiment.split
    return {
        **plan_facts(plan),
        "split_by": split.by,
        "parts": dict(Counter(split.part.values())),
        "patches": {task: _patches(plan, task) for task in TASKS},
        "trainings": [
            {
                "name": one.name, "label": one.label, "way": one.way, "features": one.features,
                "targets": list(one.targets), "depth": one.depth, "seed": one.seed,
                "trunk": one.trunk, "retrained": dict(one.retrained),
                "patches": dict(one.patches), "steps": one.steps,
                "seconds": round(taken.seconds[one.name], 1),
            }
            for one in plan.trainings
        ],
        "forests": [
            {"name": one.name, "label": one.label, "features": one.features,
             "target": one.target, "seed": one.seed,
             "seconds": round(taken.seconds[one.name], 1)}
            for one in plan.forests
        ],
        "seconds": round(taken.total),
        "bytes": taken.bytes,
    }  # fmt: skip


def plan_text(plan: StudyPlan, taken: Estimate) -> str:
    """The plan for people."""
    return "\n".join([*_photos(plan), "", *_trainings(plan, taken), "", *_taken(plan, taken)])


def _photos(plan: StudyPlan) -> Iterator[str]:
    split = plan.experiment.split
    parts = Counter(split.part.values())
    yield (
        f"Study {plan.recipe.name}: {len(plan.experiment.manifest.photos)} photos, split by "
        f"{split.by}, the same split for all tasks: "
        + ", ".join(f"{parts[part]} {part}" for part in PARTS)
        + f" (split {split.hash[:12]})."
    )
    notes = plan.experiment.notes
    yield from (f"  {note}" for note in notes[:LISTED])
    if len(notes) > LISTED:
        yield f"  and {len(notes) - LISTED} more notes (--json lists all)"
    for task in TASKS:
        found = plan.experiment.tasks[task]
        patches = _patches(plan, task)
        photos = {part: photos_per_class(plan, task, part) for part in PARTS}
        yield (
            f"{task}: {found.name}, {len(found.classes)} classes; "
            + ", ".join(
                f"{part} {patches[part]} patches "
                f"({lowest_to_highest(photos[part].values())} photos per class)"
                for part in PARTS
            )
            + f"; tests {plan.tests[task].hash[:12]}."
        )
        if task != "A":
            yield f"   {', '.join(shown(name) for name in found.classes)}"
        if plan.missing.get(task):
            yield (
                f"   missing from these photos: {', '.join(map(shown, plan.missing[task]))}. "
                "The study goes on without them."
            )


def _patches(plan: StudyPlan, task: str) -> dict[str, int]:
    made = plan.experiment.plans[task]
    counts = {part: made.total(part) for part in ("train", "validation")}
    return {**counts, "test": len(plan.tests[task])}


def _trainings(plan: StudyPlan, taken: Estimate) -> Iterator[str]:
    first = [one for one in plan.trainings if one.seed == plan.seeds[0]]
    papers = [one for one in first if one.way != "longer"]
    forests = [one for one in plan.forests if one.seed == plan.seeds[0]]
    yield (
        f"{len(papers)} trainings, 1 more of C for as many steps as A+B+C, and {len(forests)} "
        f"forests of {plan.recipe.trees.number} trees"
        + (f", {len(plan.seeds)} times with other seeds." if len(plan.seeds) > 1 else ".")
    )
    yield f"{'training':22} {'steps':>8}  {'retrained parameters':28} {'about':>10}"
    for one in first:
        retrained = ", ".join(f"{target} {count:,}" for target, count in one.retrained.items())
        time = clock(taken.seconds[one.name])
        yield f"{one.label:22} {one.steps:8,}  {retrained:28} {time:>10}"
    for forest in forests:
        yield f"{forest.label:22} {'':8}  {'':28} {clock(taken.seconds[forest.name]):>10}"


def _taken(plan: StudyPlan, taken: Estimate) -> Iterator[str]:
    yield (
        f"The total is about {clock(taken.total)} on this machine, by steps measured now (without "
        f"cutting patches and checkpoints), and up to {taken.bytes / 1e9:.1f} GB of disk."
    )
