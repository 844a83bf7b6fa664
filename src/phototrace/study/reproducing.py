"""The command `reproduce`: run a study, work out its results, write and check them.

Beside what `running` leaves, the folder gets `results.json` with every figure, `figure-3.svg` and
`.png`, `figure-3.csv`, `table-2.csv`, `table-3.csv`, and `index.html` with all of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phototrace.errors import DamagedError, UsageError
from phototrace.evidence.evaluation import plain
from phototrace.evidence.formatting import shown
from phototrace.files import write_bytes, write_json
from phototrace.learning.recipe import validated
from phototrace.photos.corpora.dresden import planned
from phototrace.photos.manifest import Manifest
from phototrace.study.estimating import Estimate, estimate
from phototrace.study.figure import figure_3
from phototrace.study.findings import Finding, findings
from phototrace.study.page import page
from phototrace.study.paper import Key
from phototrace.study.photos import other_sizes
from phototrace.study.plan import StudyPlan, plan_study
from phototrace.study.recipe import StudyRecipe
from phototrace.study.results import LEDGER, Answers, Score
from phototrace.study.running import run_study, study_photos
from phototrace.study.tables import figure_csv, table_csv

RESULTS, PAGE = "results.json", "index.html"
VERSION = 1


@dataclass(frozen=True)
class Results:
    """Everything a study says.

    Attributes:
        folder: Where it lies.
        facts: Recipe, classes, photos, hashes, machine.
        scores: Every cell.
        findings: The paper's findings compared with them.
    """

    folder: Path
    facts: Mapping[str, Any]
    scores: Mapping[Key, Score]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, folder: Path) -> Results:
        """Work everything out from the stored predictions in a study's folder."""
        answers = Answers.load(folder)
        try:
            return cls(folder, answers.facts, answers.scores(), findings(answers))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise DamagedError(
                f"{folder / LEDGER} lacks what results are worked out from. Run the study again: "
                "nothing is trained twice."
            ) from None

    def sentences(self) -> list[str]:
        """The findings in plain words, and where to read on."""
        lines = [f"{f.name}: {f.verdict}. {f.sentence}" for f in self.findings]
        return [*lines, f"The page: {self.folder / PAGE}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": "study results",
            "version": VERSION,
            **self.facts,
            "scores": [plain(score) for score in self.scores.values()],
            "findings": [plain(finding) for finding in self.findings],
        }


def plan(
    recipe: StudyRecipe, beside: Path, photos: Path | None, out: Path, seeds: int = 1
) -> tuple[StudyPlan, Estimate]:
    """What a study would do and take; nothing is trained. Simulated photos are made first.

    Photos of the Dresden database can be planned by its index alone.
    """
    by_index = planned(photos) if photos is not None else None
    manifest = by_index or study_photos(recipe, beside, photos, out)
    made = plan_study(recipe, manifest, seeds)
    if by_index is None:
        notes = (*other_sizes(made.experiment.manifest), *made.experiment.notes)
        made = replace(made, experiment=replace(made.experiment, notes=notes))
    return made, estimate(made)


def reproduce(
    recipe: StudyRecipe,
    manifest: Manifest,
    out: Path,
    *,
    seeds: int = 1,
    allow_leaks: bool = False,
) -> Results:
    """Do what is not done yet of a study, and write its results; see `run_study` for errors."""
    run_study(recipe, manifest, out, seeds=seeds, allow_leaks=allow_leaks)
    return write_results(out)


def write_results(folder: Path) -> Results:
    """Work a study's results out from its stored predictions, and write everything they give."""
    results = Results.of(folder)
    for name, data in files_of(results).items():
        write_bytes(folder / name, data)
    write_json(folder / RESULTS, results.to_dict())
    return results


def files_of(results: Results) -> dict[str, bytes]:
    """File name -> content of figure, tables and page; the same results give the same bytes."""
    return {
        "figure-3.svg": figure_3(results.scores, results.facts, "svg"),
        "figure-3.png": figure_3(results.scores, results.facts, "png"),
        "figure-3.csv": figure_csv(results.scores, results.facts).encode(),
        "table-2.csv": table_csv(results.scores, 2).encode(),
        "table-3.csv": table_csv(results.scores, 3).encode(),
        PAGE: page(results.scores, results.findings, results.facts).encode(),
    }


def check(folder: Path, recipe: StudyRecipe | None = None) -> list[str]:
    """What differs between a study's stored results and its stored predictions, one sentence each.

    Every figure of `results.json` is computed again, and page, figure and tables are made again.

    Raises:
        UsageError: There is no study in the folder, no results, or it is not that of `recipe`.
        DamagedError: Predictions are missing or have changed, or `results.json` cannot be read.
    """
    results = Results.of(folder)
    if recipe and _recipe_of(results, folder).choices() != recipe.choices():
        raise UsageError(
            f"{folder} holds a study of another recipe ({shown(str(results.facts['study']))}, or "
            "an earlier form of this one). Give that recipe, or another --out."
        )
    try:
        stored = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder} has no {RESULTS}. Run the study without --check.") from None
    except (OSError, ValueError):
        raise DamagedError(f"{folder / RESULTS} cannot be read. Run the study again.") from None
    given = json.loads(json.dumps(results.to_dict()))
    found = [f"{RESULTS}: {place}" for place in _differences(stored, given, "")]
    for name, data in files_of(results).items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: is missing.")
        # A PNG's bytes depend on the fonts and libraries of the machine.
        elif not name.endswith(".png") and path.read_bytes() != data:
            drawn = "" if name.endswith(".csv") else " (or drawn by another matplotlib)"
            found.append(f"{name}: not what the predictions give{drawn}.")
    return found


def _recipe_of(results: Results, folder: Path) -> StudyRecipe:
    """The recipe that a study was done by; choices that came later have their defaults."""
    return validated(StudyRecipe, results.facts["recipe"], str(folder / LEDGER))


def _differences(stored: Any, given: Any, place: str) -> list[str]:
    """Where two JSON values differ, one sentence a place."""
    if isinstance(stored, dict) and isinstance(given, dict):
        both: list[tuple[str, Any, Any]] = [
            (f"{place}.{key}".lstrip("."), stored.get(key, "missing"), given.get(key, "missing"))
            for key in sorted(stored.keys() | given.keys())
        ]
    elif isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        pairs = zip(stored, given, strict=True)
        both = [(f"{place}[{number}]", *pair) for number, pair in enumerate(pairs)]
    else:
        same = stored == given
        return [] if same else [f"{place} is {stored!r}, the predictions give {given!r}."]
    return [found for name, one, other in both for found in _differences(one, other, name)]
