"""What a plan's tasks are made of, counted."""

from __future__ import annotations

from phototrace.patches.plan import label_of
from phototrace.photos.dealing import PARTS
from phototrace.study.plan import StudyPlan
from phototrace.study.recipe import TASKS


def classes_of(plan: StudyPlan) -> dict[str, tuple[str, ...]]:
    """Task -> its ordered classes."""
    return {task: plan.experiment.tasks[task].classes for task in TASKS}


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
