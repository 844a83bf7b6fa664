"""One web page of one or more evaluations, complete in itself: nothing is fetched, nothing runs.

Names of classes, devices and files are untrusted: every value is escaped by the template, figures
escape theirs, and the page forbids scripts and outside content to the browser as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from phototrace.errors import UsageError
from phototrace.evidence import figures
from phototrace.evidence.evaluation import Evaluation, GroupResult, PhotoResult
from phototrace.evidence.formatting import (
    ends,
    gain,
    headline,
    number,
    number_span,
    percent,
    points,
    shown,
    signed_number,
    span,
    test_set,
    verdict,
    wide,
)
from phototrace.evidence.intervals import FEW_CLUSTERS, Figure, counted
from phototrace.evidence.kinds import AnyComparison, AnyEvaluation
from phototrace.evidence.numbers import (
    NumberEvaluation,
    NumberGroup,
    NumberPhoto,
    too_few,
)
from phototrace.files import write_text

WORST_PHOTOS = 15


@dataclass(frozen=True)
class Evaluated:
    """One section of the report: an evaluation, and what only the caller knows of it."""

    title: str
    evaluation: AnyEvaluation
    kept_apart: str
    """How training and test were separated, in a sentence or two."""
    cautions: Sequence[str] = ()
    """What a reader must not conclude from the figures, one sentence each."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Further rows of the table: versions, machine, command line."""
    training: Sequence[Mapping[str, object]] = ()
    """The run's metrics, one row an epoch; none, no training curve."""
    photo_names: Mapping[str, str] = field(default_factory=dict)
    """File names by photo id, shown in place of the ids."""


@dataclass(frozen=True)
class NextStep:
    """One line of "where to go next"."""

    text: str
    command: str = ""


def write_report(
    path: Path,
    evaluations: Sequence[Evaluated],
    *,
    comparisons: Sequence[AnyComparison] = (),
    title: str = "How accurate is it?",
    next_steps: Sequence[NextStep] = (),
) -> None:
    """Write the page to `path`; the same results give the same bytes.

    Raises:
        UsageError: if there is no evaluation to report.
    """
    write_text(path, render_report(evaluations, comparisons, title, next_steps))


def render_report(
    evaluations: Sequence[Evaluated],
    comparisons: Sequence[AnyComparison] = (),
    title: str = "How accurate is it?",
    next_steps: Sequence[NextStep] = (),
) -> str:
    """The page as text; see `write_report`."""
    if not evaluations:
        raise UsageError("A report needs at least one evaluation.")
    sections = [_section(number, run) for number, run in enumerate(evaluations, start=1)]
    pairs = [
        {
            "comparison": comparison,
            "figure": inline(figures.differences_figure(comparison), verdict(comparison)),
        }
        for comparison in comparisons
    ]
    page = environment().get_template("report.html")
    return page.render(title=title, sections=sections, pairs=pairs, next_steps=next_steps)


def environment(*packages: str) -> Environment:
    """Templates of the given packages and then of this one; every value is escaped."""
    found = [PackageLoader(name, "templates") for name in (*packages, "phototrace.evidence")]
    made = Environment(
        loader=ChoiceLoader(found),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.tests["too_few"] = too_few
    made.filters |= {
        "ends": ends,
        "gain": gain,
        "number": number,
        "number_span": number_span,
        "percent": percent,
        "points": points,
        "signed_number": signed_number,
        "shown": shown,
        "span": span,
        "wide": wide,
        "test_set": test_set,
        "headline": headline,
        "verdict": verdict,
        "counted": counted,
    }
    return made


def _section(number: int, run: Evaluated) -> dict[str, object]:
    """What the template needs of one run."""
    result = run.evaluation
    provenance = {
        "task": result.task,
        "run": result.run,
        "run hash": result.run_hash,
        "data hash": result.data_hash,
        "split hash": result.split_hash,
        "predictions hash": result.predictions_hash,
        "intervals": f"95 %, {result.resamples:,} resamples, seed {result.seed}",
        **run.provenance,
    }
    part = _numbers(result) if isinstance(result, NumberEvaluation) else _classes(result)
    if run.training:
        curve = figures.training_figure(run.training)
        part.figures["training"] = inline(curve, "Training by epoch")
    return {
        "number": number,
        "run": run,
        "result": result,
        "in_a_range": isinstance(result, NumberEvaluation),
        "cautions": [*run.cautions, *result.notes, *_doubts(part)],
        "provenance": {key: value for key, value in provenance.items() if value},
        "worst": [(one, run.photo_names.get(one.photo, one.photo)) for one in part.worst],
        "devices": part.devices,
        "scenes": part.scenes if len(part.scenes) > 1 else [],
        "figures": part.figures,
        **part.more,
    }


@dataclass(frozen=True)
class _Part:
    """What each kind of evaluation puts into its section in its own way."""

    main: Figure
    strata: Sequence[tuple[str, str, Figure]]
    """What sets a part of the test set apart, its value, its figure."""
    worst: Sequence[PhotoResult] | Sequence[NumberPhoto]
    devices: Sequence[GroupResult] | Sequence[NumberGroup]
    scenes: Sequence[GroupResult] | Sequence[NumberGroup]
    figures: dict[str, Markup]
    more: Mapping[str, object]


def _classes(result: Evaluation) -> _Part:
    worst = [photo for photo in result.by_photo if photo.right < photo.patches]
    parts = [stratum.accuracy for stratum in result.strata]
    made = {
        "confusion": inline(figures.confusion_figure(result), "Predicted class by true class"),
        "photos": inline(
            figures.photos_figure(result), "Photos by the share of their patches that are correct"
        ),
        "devices": inline(figures.devices_figure(result), "Accuracy by device with intervals"),
    }
    return _Part(
        main=result.accuracy,
        strata=[(s.what, s.value, s.accuracy) for s in result.strata],
        worst=worst[:WORST_PHOTOS],
        devices=_lowest_first(result.by_device),
        scenes=_lowest_first(result.by_scene),
        figures=made,
        more={
            "faultless": len(result.by_photo) - len(worst),
            "floor": _floor([*parts, result.accuracy, result.balanced_accuracy]),
            "meanings": {
                "balanced": _meanings(
                    [("patches, balanced over classes", result.balanced_accuracy)]
                ),
                "conditions": _meanings(
                    (f"{s.what}: {s.value}", s.accuracy) for s in result.strata
                ),
                "classes": _meanings((c.name, c.recall) for c in result.by_class if c.recall),
            },
        },
    )


def _meanings(figures: Iterable[tuple[str, Figure]]) -> list[tuple[str, str]]:
    """What is to be said of a table's wide intervals, by the names of their rows."""
    return [(name, wide(figure)) for name, figure in figures if wide(figure)]


def _numbers(result: NumberEvaluation) -> _Part:
    parts = [stratum.error for stratum in result.strata]
    made = {
        "answers": inline(figures.answers_figure(result), "Predictions against true values"),
        "devices": inline(
            figures.device_errors_figure(result), "Mean error by device with intervals"
        ),
    }
    return _Part(
        main=result.error,
        strata=[(s.what, s.value, s.error) for s in result.strata],
        worst=result.by_photo[:WORST_PHOTOS],
        devices=_largest_first(result.by_device),
        scenes=_largest_first(result.by_scene),
        figures=made,
        more={"ceiling": max(figure.high for figure in [*parts, result.error])},
    )


def _lowest_first(groups: Sequence[GroupResult]) -> list[GroupResult]:
    return sorted(groups, key=lambda group: (group.accuracy.value, group.name))


def _largest_first(groups: Sequence[NumberGroup]) -> list[NumberGroup]:
    return sorted(groups, key=lambda group: (-group.error.value, group.name))


def _doubts(part: _Part) -> list[str]:
    """What rests on too few devices or scenes."""
    notes = [
        f"{interval.note.capitalize()}; do not rely on the interval over {interval.by}s."
        for interval in part.main.intervals
        if interval.note
    ]
    for what, value, figure in part.strata:
        count = {"device": figure.devices, "scene": figure.scenes}.get(what, FEW_CLUSTERS)
        if value == "never seen" and count < FEW_CLUSTERS:
            notes.append(
                f"Only {counted(count, what)} tested here had never been seen in training:"
                " too few to predict the accuracy on others."
            )
    return notes


def _floor(results: Sequence[Figure]) -> float:
    """Where the strips of a table begin: the tenth below the lowest end shown in it."""
    lowest = min((figure.low for figure in results), default=0.0)
    return max(0.0, min(0.9, math.floor(10 * lowest) / 10))


_THEMED = {
    figures.INK: "ink",
    figures.MUTED: "muted",
    figures.GRID: "line",
    figures.PAPER: "paper",
    figures.BLUE: "blue",
    figures.ORANGE: "orange",
}


def inline(svg: bytes, label: str) -> Markup:
    """One of our own figures as part of the page, its colours following light and dark."""
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    # Ids of groups are of no use and would stand twice on a page of two figures.
    text = re.sub(r'<g id="[\w.]+">', "<g>", text)
    for colour, name in _THEMED.items():
        text = text.replace(f": {colour}", f": var(--{name})")
    width = float(re.findall(r'width="([\d.]+)pt"', text)[0]) * 4 / 3
    opening = Markup('<svg role="img" aria-label="{}" style="--w: {}px" viewBox').format(
        label, f"{width:.0f}"
    )
    return Markup(re.sub(r"<svg.*?viewBox", lambda _: str(opening), text, count=1))
