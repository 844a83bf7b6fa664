"""Runs evaluated on test photos: predictions, evaluations and a page, all in one folder.

The folder gets `predictions-<run>.parquet` (`predictions-<run>.<leg>.parquet` for a run with
several legs), from which every figure can be worked out again, `evaluation.json` and `index.html`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phototrace.errors import UsageError
from phototrace.evidence.formatting import (
    condition_lines,
    headline,
    kept_apart,
    saved_anew,
    verdict,
)
from phototrace.evidence.inference import Tested, predict_photos, title
from phototrace.evidence.kinds import AnyComparison, AnyEvaluation, compare_any, evaluate_any
from phototrace.evidence.report import Evaluated, NextStep, write_report
from phototrace.files import write_json
from phototrace.learning.network import Backbone
from phototrace.learning.run import Run
from phototrace.photos.completing import with_traces
from phototrace.photos.manifest import Manifest

PAGE, RESULTS = "index.html", "evaluation.json"
LISTED_NOTES = 12


@dataclass(frozen=True)
class Assessment:
    """What came out: one entry a leg, and each further run's difference to the first.

    Attributes:
        folder: Where page, results and predictions lie.
        runs: As given.
        tested: Predictions of each leg of each run, and what was left out.
        evaluations: How accurate each was.
        comparisons: First run less each further one, leg by leg with the same task and classes.
        untested: Legs for which no photo was left, with the reason.
        notes: What was to be said of the photos before, such as files that could not be read.
    """

    folder: Path
    runs: Sequence[Run]
    tested: Sequence[Tested]
    evaluations: Sequence[AnyEvaluation]
    comparisons: Sequence[AnyComparison]
    untested: Mapping[str, str]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "version": 1,
            "evaluations": [e.to_dict() for e in self.evaluations],
            "comparisons": [c.to_dict() for c in self.comparisons],
            "photos": [t.photos for t in self.tested],
            "left_out": [dict(t.left_out) for t in self.tested],
            "unreadable": [dict(t.unreadable) for t in self.tested],
            "cautions": [list(t.cautions) for t in self.tested],
            "untested": dict(self.untested),
            "photo_notes": list(self.notes),
        }

    def sentences(self) -> list[str]:
        """The results in plain words, one paragraph a leg."""
        lines = []
        for tested, evaluation in zip(self.tested, self.evaluations, strict=True):
            lines.append(f"{evaluation.run}: {headline(evaluation)}")
            lines += [f"  {line}" for line in condition_lines(evaluation)]
            left_out = [f"{count} {reason}" for reason, count in tested.left_out.items()]
            lines.extend([f"  photos left out: {', '.join(left_out)}"] if left_out else [])
            lines += [f"  {caution}" for caution in tested.cautions]
        lines.extend(verdict(comparison) for comparison in self.comparisons)
        return [*lines, f"The page: {self.folder / PAGE}"]

    def unreadable(self) -> list[dict[str, str]]:
        """Photos that could not be read and legs that could not be tested, with the reason."""
        found = {path: why for tested in self.tested for path, why in tested.unreadable.items()}
        found |= self.untested
        return [{"path": path, "reason": why} for path, why in found.items()]


def assess(
    runs: Sequence[Run],
    manifest: Manifest,
    out: Path,
    *,
    backbone: Backbone | None = None,
    next_steps: Sequence[NextStep] = (),
    notes: Sequence[str] = (),
) -> Assessment:
    """Test every leg of every run on the photos that trained none of its weights.

    Patches go to `out / "stores"` and are reused. A leg for which no photo is left is listed, and
    the others are tested. Raises `UsageError` where none can be, or two runs have one name and
    cannot be told apart.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UsageError(f"Two of the runs are called {max(names, key=names.count)!r}. Rename one.")
    manifest = with_traces(manifest, out / "stores")  # once for all legs and runs
    tested: list[tuple[Run, Tested]] = []
    untested: dict[str, str] = {}
    for run, leg in ((each, leg) for each in runs for leg in each.tasks):
        try:
            one = predict_photos(run, manifest, out / "stores", leg=leg, backbone=backbone)
        except UsageError as error:
            untested[title(run, leg)] = str(error)
            continue
        several = f".{leg}" if len(run.tasks) > 1 else ""
        one.predictions.save(out / f"predictions-{run.name}{several}.parquet")
        tested.append((run, one))
    if not tested:
        raise UsageError(next(iter(untested.values())))
    evaluations = [evaluate_any(one.predictions) for _, one in tested]
    comparisons = _comparisons(runs[0], tested)
    result = Assessment(
        out, runs, [one for _, one in tested], evaluations, comparisons, untested, notes
    )
    write_json(out / RESULTS, result.to_dict())
    sections = [
        _section(run, one, evaluation, manifest, notes)
        for (run, one), evaluation in zip(tested, evaluations, strict=True)
    ]
    write_report(out / PAGE, sections, comparisons=comparisons, next_steps=next_steps)
    return result


def _comparisons(first: Run, tested: Sequence[tuple[Run, Tested]]) -> list[AnyComparison]:
    """The first run's legs with those of each further run with the same task."""
    ours = [one.predictions for run, one in tested if run is first]
    theirs = [one.predictions for run, one in tested if run is not first]
    compared = [compare_any(a, b) for a in ours for b in theirs]
    return [comparison for comparison in compared if comparison is not None]


def _section(
    run: Run,
    tested: Tested,
    evaluation: AnyEvaluation,
    manifest: Manifest,
    notes: Sequence[str],
) -> Evaluated:
    left_out = ", ".join(f"{n} {why}" for why, n in tested.left_out.items()) or "no photo"
    common = {"photos (manifest hash)": manifest.hash, "left out": left_out}
    names = {record.id: record.path for record in manifest.photos}
    cautions = [*tested.cautions, *notes, *_lost(tested), *_cautions(run, tested.leg)]
    if not run.provenance:
        return Evaluated(
            title=f"{evaluation.task}: {evaluation.run}",
            evaluation=evaluation,
            kept_apart="Unknown: the model comes without the record of its training.",
            cautions=cautions,
            provenance=common,
            photo_names=names,
        )
    machine, recipe = run.provenance["machine"], run.recipe
    provenance = {
        "recipe": f"{recipe.name}, seed {recipe.seed}"
        + (f" (training seed {recipe.training_seed})" if recipe.training.seed is not None else ""),
        **common,
        "trained on": ", ".join(
            f"{leg}: {sum(count['train'])} patches of {recipe.network.patch_size} px"
            for leg, count in run.provenance["patches"].items()
        ),
        "training time": f"{run.provenance['seconds'] / 60:.0f} minutes",
        "processor": machine["accelerator"] or machine["processor"],
        "notes on its photos": " ".join(run.provenance.get("notes", [])[:LISTED_NOTES]),
        "versions": ", ".join(f"{k} {v}" for k, v in machine["libraries"].items()),
        **_shared(run),
    }
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["leg"] == tested.leg]
    return Evaluated(
        title=f"{evaluation.task}: {evaluation.run}",
        evaluation=evaluation,
        kept_apart=kept_apart(run.recipe.split.by, len(run.recipe.split.test_devices)),
        cautions=cautions,
        provenance=provenance,
        training=rows,
        photo_names=names,
    )


def _lost(tested: Tested) -> Iterator[str]:
    """A note on photos that could not be tested, or are not of the size that the manifest says."""
    if tested.unreadable:
        first = next(iter(tested.unreadable.values()))
        yield f"{len(tested.unreadable)} photos could not be tested. {first}"


def _shared(run: Run) -> dict[str, str]:
    """What the network shares with other tasks."""
    depth, trunk = run.config.share_depth, run.provenance.get("trunk")
    if depth is None:
        return {}
    if trunk:
        return {"trunk": f"up to {depth} of the run {trunk['run']} (hash {trunk['hash']}), frozen"}
    weights = ", ".join(f"{leg} {choice.weight:g}" for leg, choice in run.recipe.legs.items())
    return {"trunk": f"shared up to {depth}; weights of the legs: {weights}"}


def _cautions(run: Run, leg: str) -> list[str]:
    cautions = []
    by = run.recipe.split.by
    if run.tasks[leg].column and by in ("photo", "device") and run.provenance:
        cautions.append(
            "Training and test share scenes and most quantisation tables: part of this accuracy "
            "may come from the scene or the table instead of the camera."
        )
    if run.recipe.photos.simulated is not None:
        cautions.append("Simulated photos: an illustration of the method, not evidence.")
    if run.recipe.photos.recompress is not None:
        cautions.append(saved_anew(run.recipe.photos.recompress))
    return cautions
