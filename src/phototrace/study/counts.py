"""What a plan's tasks are made of, counted."""

from __future__ import annotations

from typing import Any

from phototrace.patches.plan import label_of
from phototrace.photos.dealing import PARTS
from phototrace.study.plan import StudyPlan
from phototrace.study.recipe import TASKS


def plan_facts(plan: StudyPlan) -> dict[str, Any]:
    """Photos, split and classes of a plan, as plain values."""
    experiment = plan.experiment
    return {
        "study": plan.recipe.name,
        "plan": plan.hash,
        "seeds": list(plan.seeds),
        "classes": {task: list(experiment.tasks[task].classes) for task in TASKS},
        "missing": {task: list(names) for task, names in plan.missing.items()},
        "photos": {t: {p: photos_per_class(plan, t, p) for p in PARTS} for t in TASKS},
        "manifest": experiment.manifest.hash,
        "split": experiment.split.hash,
        "notes": list(experiment.notes),
        "tests": {task: found.hash for task, found in plan.tests.items()},
    }


def photos_per_class(plan: StudyPlan, task: str, part: str) -> dict[str, int]:
    """Class -> photos of a part that give patches; for A, all of them stand for every class."""
    found = plan.tests[task] if part == "test" else plan.experiment.plans[task]
    number = PARTS.index(part)
    used = sorted({int(i) for i in found.photo[found.part == number]})
    records = [found.manifest.photos[i] for i in used]
    if task == "A":
        return dict.fromkeys(found.settings.classes, len(records))
    counts = dict.fromkeys(found.settings.classes, 0)
    for record in records:
        counts[label_of(record, found.settings.label)] += 1
    return counts
