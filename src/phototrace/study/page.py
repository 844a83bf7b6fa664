"""One web page of a study, complete in itself: nothing is fetched, nothing runs, nothing is
computed.

Names of classes, cameras and files are untrusted: the template escapes every value, the figure
escapes its own, and the page forbids scripts and outside content to the browser as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from phototrace.evidence.formatting import kept_apart, lowest_to_highest, saved_anew
from phototrace.evidence.intervals import counted
from phototrace.evidence.report import environment, inline
from phototrace.photos.dealing import PARTS
from phototrace.study.figure import figure_3
from phototrace.study.findings import Finding
from phototrace.study.paper import Key
from phototrace.study.results import RESAMPLES, Score
from phototrace.study.tables import table

VERDICTS = {"holds": "holds", "does not hold": "fails", "not decided": "open"}
"""Verdict -> its style."""
NOTES = 3
"""Notes on the split that the page has before it counts the rest."""

TASKS = {
    "A": "Which manipulation, if any?",
    "B": "Which camera model?",
    "C": "Which camera model, with few photos to train on?",
}
MOST_LISTED = 50


def page(scores: Mapping[Key, Score], findings: Sequence[Finding], facts: Mapping[str, Any]) -> str:
    """The page as text; the same results give the same text."""
    figure = inline(figure_3(scores, facts, "svg"), "Accuracy by share depth, for A and B")
    template = environment("phototrace.study").get_template("study.html")
    return template.render(
        facts=facts,
        recipe=facts["recipe"],
        cautions=cautions(scores, facts),
        studied=_studied(facts),
        tasks={task: _task(facts, task) for task in TASKS},
        findings=[_finding(n, finding) for n, finding in enumerate(findings, start=1)],
        counts=Counter(finding.verdict for finding in findings),
        styles=VERDICTS,
        figure=figure,
        guessing={task: 1 / len(facts["classes"][task]) for task in TASKS},
        tables={number: table(scores, number) for number in (2, 3)},
        scores=scores,
        trainings=_trainings(scores, facts["depths"]),
        provenance=_provenance(facts),
        choices=dict(_flat(facts["recipe"])),
        most=MOST_LISTED,
    )


def cautions(scores: Mapping[Key, Score], facts: Mapping[str, Any]) -> list[str]:
    """What a reader must not conclude from the figures, one sentence or two each."""
    recipe, found = facts["recipe"], []
    if recipe.get("illustration"):
        found.append(
            "An illustration, not evidence: it shows what the study does. It has too few photos "
            "and too short trainings to say anything about the paper's findings."
        )
    if recipe["photos"].get("simulated"):
        found.append("The photos are simulated. Real cameras differ from each other in other ways.")
    if recipe["photos"].get("recompress"):
        found.append(saved_anew(recipe["photos"]["recompress"]))
    if recipe["split"]["by"] == "photo":
        found.append(
            "Training and test share devices and scenes. Camera, scene and quantisation table are "
            "confounded: camera models may be told apart here (B and C) by the scene or the "
            "table instead of the camera."
        )
    if recipe["split"]["by"] == "device":
        found.append(
            "Training and test share scenes and most quantisation tables of the files: part of the "
            "accuracy on B and C may come from the scene or the table instead of the camera."
        )
    if facts["leaks"]:
        found.append(
            f"The split leaks in {counted(len(facts['leaks']), 'place')}, listed below: some "
            "figures may be too good."
        )
    return [*found, *_few(scores)]


def _few(scores: Mapping[Key, Score]) -> list[str]:
    """Tasks that were tested on too few photos, devices or scenes."""
    first = {key.target: score.accuracy for key, score in scores.items()}
    found = []
    for task, figure in sorted(first.items()):
        few = [counted(i.clusters, i.by) for i in figure.intervals if not i.reliable]
        if few:
            found.append(f"{task} on {' and '.join(few)}")
    if not found:
        return []
    return [
        f"The tests are small: {'; '.join(found)}. Do not take them for the accuracy on others."
    ]


def _studied(facts: Mapping[str, Any]) -> dict[str, str]:
    """What was studied, in the rows of a table."""
    recipe, seeds = facts["recipe"], facts["seeds"]
    split = recipe["split"]
    rows = {
        f"task {task}": f"{question} {_count(facts, task)}" for task, question in TASKS.items()
    }  # fmt: skip
    rows["about the photos"] = recipe.get("note", "")
    notes = facts["notes"] if "notes" in facts else facts["split_notes"]  # its former name
    more = f"(and {len(notes) - NOTES} more notes of this kind)" if len(notes) > NOTES else ""
    apart = kept_apart(split["by"], len(split.get("test_devices", ())))
    rows["split"] = " ".join([apart, *notes[:NOTES], more]).strip()
    rows["share depths"] = ", ".join(facts["depths"])
    rows["repetitions"] = (
        f"{len(seeds)}, with seeds {', '.join(map(str, seeds))}: figures are their mean"
        if len(seeds) > 1
        else "None: one seed. How much a figure changes with the seed was not measured."
    )
    for task, names in facts["missing"].items():
        if names:
            rows[f"missing from {task}"] = (
                f"{len(names)} of its classes have no photos: {', '.join(names)}"
            )
    return {name: text for name, text in rows.items() if text}


def _count(facts: Mapping[str, Any], task: str) -> str:
    """Such as "5 classes. Photos per class: 7 for training, 2 for validation, 3 for test."."""
    photos = facts["photos"][task]
    train, validation, test = (lowest_to_highest(photos[part].values()) for part in PARTS)
    return (
        f"{len(facts['classes'][task])} classes. Photos per class: {train} for training, "
        f"{validation} for validation, {test} for test."
    )


def _task(facts: Mapping[str, Any], task: str) -> list[tuple[str, list[int]]]:
    """Class -> its photos by part."""
    photos = facts["photos"][task]
    return [
        (name, [photos[part].get(name, 0) for part in PARTS]) for name in facts["classes"][task]
    ]


def _finding(number: int, finding: Finding) -> dict[str, Any]:
    """A finding, and how far the scale of its drawn intervals goes to either side."""
    ends = [
        abs(end)
        for detail in finding.details
        for end in (detail.figure.low, detail.figure.high, detail.paper or 0.0)
    ]
    furthest = max(ends, default=0.0)
    step = 0.05 if furthest > 0.1 else 0.01
    reach = step * math.ceil((1.03 * furthest + 1e-9) / step)  # room for a mark at the end
    return {"number": number, "finding": finding, "reach": reach}


def _trainings(scores: Mapping[Key, Score], depths: Sequence[str]) -> list[Score]:
    """All cells by way, then features, shallow to deep."""
    ways = ("single", "longer", "transfer", "multitask", "trees")

    def place(score: Score) -> tuple[int, int, str, int, str]:
        key = score.key
        depth = depths.index(key.depth) if key.depth in depths else -1
        return ways.index(key.way), len(key.features), key.features, depth, key.target

    return sorted(scores.values(), key=place)


def _provenance(facts: Mapping[str, Any]) -> dict[str, str]:
    machine = facts["machine"]
    rows = {
        "study": facts["study"],
        "plan hash": facts["plan"],
        "photos (manifest hash)": facts["manifest"],
        "split hash": facts["split"],
        **{f"test patches of {task}, hash": found for task, found in facts["tests"].items()},
        "seeds": ", ".join(map(str, facts["seeds"])),
        "intervals": f"95 %, {RESAMPLES:,} resamples, seed {facts['seeds'][0]}",
        "processor": machine["accelerator"] or machine["processor"],
        "threads": str(machine["threads"]),
        "system": f"{machine['system']}, Python {machine['python']}",
        "versions": ", ".join(f"{name} {number}" for name, number in machine["libraries"].items()),
    }
    return {name: text for name, text in rows.items() if text}


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A recipe's choices one a row, such as "training.epochs"; what is empty is left out."""
    if isinstance(value, Mapping):
        inner = ((f"{name}.{key}".lstrip("."), one) for key, one in value.items())
        return [row for key, one in inner for row in _flat(one, key)]
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return [(name, str(value))] if value not in ("", None) else []
