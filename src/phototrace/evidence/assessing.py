"""Runs put to the test: predictions, evaluations and a page, all in one folder.

The folder gets `predictions-<run>.parquet` (from which every figure can be worked out again),
`evaluation.json` and `index.html`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phototrace.errors import UsageError
from phototrace.evidence.comparison import Comparison, compare
from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.predictions import Predictions
from phototrace.evidence.report import Evaluated, NextStep, write_report
from phototrace.evidence.testing import Tested, predict_photos
from phototrace.evidence.wording import headline, verdict
from phototrace.files import write_json
from phototrace.learning.network import Backbone
from phototrace.learning.run import Run
from phototrace.photos.manifest import Manifest

PAGE, RESULTS = "index.html", "evaluation.json"


@dataclass(frozen=True)
class Assessment:
    """What came out: one entry a run, and each further run's difference to the first.

    Attributes:
        folder: Where page, results and predictions lie.
        runs: As given.
        tested: What each run said, and what was left out.
        evaluations: How often each was right.
        comparisons: First run less each further one, where both answer the same task.
    """

    folder: Path
    runs: Sequence[Run]
    tested: Sequence[Tested]
    evaluations: Sequence[Evaluation]
    comparisons: Sequence[Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "version": 1,
            "evaluations": [e.to_dict() for e in self.evaluations],
            "comparisons": [c.to_dict() for c in self.comparisons],
            "photos": [t.photos for t in self.tested],
            "left_out": [dict(t.left_out) for t in self.tested],
            "unreadable": [dict(t.unreadable) for t in self.tested],
        }

    def sentences(self) -> list[str]:
        """The results in plain words, one paragraph a run."""
        lines = []
        for run, tested, evaluation in zip(self.runs, self.tested, self.evaluations, strict=True):
            lines.append(f"{run.name}: {headline(evaluation)}")
            for stratum in evaluation.strata:
                figure = stratum.accuracy
                lines.append(
                    f"  {stratum.what} {stratum.value}: {figure.value:.1%} "
                    f"({figure.low:.1%} to {figure.high:.1%}, {figure.photos} photos)"
                )
            left_out = [f"{count} {reason}" for reason, count in tested.left_out.items()]
            lines.extend([f"  left out: {', '.join(left_out)} photos"] if left_out else [])
        lines.extend(verdict(comparison) for comparison in self.comparisons)
        return [*lines, f"The page: {self.folder / PAGE}"]

    def unreadable(self) -> list[dict[str, str]]:
        """Photos that could not be read, with the reason."""
        found = {path: why for tested in self.tested for path, why in tested.unreadable.items()}
        return [{"path": path, "reason": why} for path, why in found.items()]


def assess(
    runs: Sequence[Run],
    manifest: Manifest,
    out: Path,
    *,
    backbone: Backbone | None = None,
    next_steps: Sequence[NextStep] = (),
) -> Assessment:
    """Test every run on the photos that taught none of its weights, and write the results.

    Patches go to `out / "stores"` and are reused. Two runs of one name cannot be told apart and
    raise `UsageError`.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UsageError(f"Two of the runs are called {max(names, key=names.count)!r}. Rename one.")
    tested = [predict_photos(run, manifest, out / "stores", backbone=backbone) for run in runs]
    for run, one in zip(runs, tested, strict=True):
        one.predictions.save(out / f"predictions-{run.name}.parquet")
    evaluations = [evaluate(one.predictions) for one in tested]
    comparisons = _comparisons([one.predictions for one in tested])
    result = Assessment(out, runs, tested, evaluations, comparisons)
    write_json(out / RESULTS, result.to_dict())
    sections = [
        _section(run, one, evaluation, manifest)
        for run, one, evaluation in zip(runs, tested, evaluations, strict=True)
    ]
    write_report(out / PAGE, sections, comparisons=comparisons, next_steps=next_steps)
    return result


def _comparisons(tables: Sequence[Predictions]) -> list[Comparison]:
    first, *others = tables
    return [compare(first, other) for other in others if other.classes == first.classes]


def _section(run: Run, tested: Tested, evaluation: Evaluation, manifest: Manifest) -> Evaluated:
    machine, recipe = run.provenance["machine"], run.recipe
    provenance = {
        "recipe": f"{recipe.name}, seed {recipe.seed}",
        "photos (manifest hash)": manifest.hash,
        "trained on": ", ".join(
            f"{leg}: {sum(count['train'])} patches of {recipe.network.patch_size} px"
            for leg, count in run.provenance["patches"].items()
        ),
        "training time": f"{run.provenance['seconds'] / 60:.0f} minutes",
        "processor": machine["accelerator"] or machine["processor"],
        "versions": ", ".join(f"{k} {v}" for k, v in machine["libraries"].items()),
        "left out": ", ".join(f"{n} {why}" for why, n in tested.left_out.items()) or "no photo",
    }
    rows = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return Evaluated(
        title=f"{evaluation.task}: {run.name}",
        evaluation=evaluation,
        kept_apart=_kept_apart(run),
        cautions=_cautions(run, evaluation),
        provenance=provenance,
        training=[json.loads(row) for row in rows],
        photo_names={record.id: record.path for record in manifest.photos},
    )


def _kept_apart(run: Run) -> str:
    apart = {
        "photo": "Photos, bursts together. Training and test share devices and scenes",
        "device": "Devices: of each camera model one whole device tests. Scenes are shared",
        "scene": "Scenes, or the collections photos came from. Camera models may be shared",
        "device and scene": "Devices and scenes, both",
    }[run.split["by"]]
    devices = run.recipe.split.test_devices
    return f"{apart}." + (f" {len(devices)} devices were kept out of training." if devices else "")


def _cautions(run: Run, evaluation: Evaluation) -> list[str]:
    cautions = []
    if evaluation.task == "camera" and run.split["by"] in ("photo", "device"):
        cautions.append(
            "Training and test share scenes, and mostly the files' quantisation tables: part of "
            "this figure may be the scene or the table in place of the camera."
        )
    if run.recipe.photos.simulated is not None:
        cautions.append("Simulated photos: an illustration of the method, not evidence.")
    if run.recipe.photos.recompress is not None:
        cautions.append(
            f"Every photo was saved anew at quality {run.recipe.photos.recompress} before it was "
            "cut. Traces of its first compression can remain."
        )
    return cautions
