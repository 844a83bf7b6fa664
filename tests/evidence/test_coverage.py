"""The program that measures how often intervals hold the truth, and its page."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from phototrace.evidence.intervals import mean_of
from phototrace.evidence.markdown import filled

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "coverage", ROOT / "results/intervals/coverage.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_was_measured(program: ModuleType) -> None:
    page = program.PAGE.read_text(encoding="utf-8")
    made = {"coverage": program.page_table(program.stored())}
    assert "| accuracy | 60.0 | 0.1 |" in made["coverage"]
    assert filled(page, made) == page


def test_what_the_docstring_says_was_measured(program: ModuleType) -> None:
    text = (ROOT / "src/phototrace/evidence/intervals.py").read_text(encoding="utf-8")
    rows = re.findall(r"^    (6|9)([05]) %, (0\.[15]) +([\d. ]+)$", text, re.MULTILINE)
    assert len(rows) == 4
    for tens, ones, correlation, numbers in rows:
        found = [
            row["held"]
            for row in program.stored()
            if (row["scenario"], row["correlation"]) == ("accuracy", correlation)
            and row["truth"] == f"0.{tens}{ones}00"
        ]
        assert [float(n) for n in numbers.split()] == pytest.approx(
            [100 * float(held) for held in found], abs=0.051
        )


def test_the_truth_is_what_figures_tend_to(program: ModuleType) -> None:
    for scenario in program.scenarios():
        # An even number of clusters a class; few classes, as there are with ten clusters.
        several = [scenario.make(np.random.default_rng(seed), 10)[:2] for seed in range(1500)]
        pooled = [np.concatenate(part) for part in zip(*several, strict=True)]
        assert mean_of(*pooled) == pytest.approx(scenario.truth, abs=0.008), scenario.name


def test_two_patches_of_a_cluster_are_as_alike_as_is_said(program: ModuleType) -> None:
    values, _, clusters = program.accuracy(0.85, 0.5).make(np.random.default_rng(0), 3000)
    size = np.bincount(clusters)
    right = np.bincount(clusters, values)
    mean, both = np.mean(right / size), np.mean(right * (right - 1) / (size * (size - 1)))
    assert mean == pytest.approx(0.85, abs=0.02)
    assert (both - mean**2) / (mean * (1 - mean)) == pytest.approx(0.5, abs=0.05)


def test_coverage_counts_what_is_held(program: ModuleType) -> None:
    """Rare errors of many clusters: over 200 test sets, one standard error is 1.5 points."""
    found = program.coverage(program.accuracy(0.95, 0.1), 40, test_sets=200, resamples=200)
    assert 0.91 <= found.held <= 0.99
    assert found.held + found.above + found.below == pytest.approx(1)
    assert found.above > found.below
    assert found.exact < 0.1
    few = program.coverage(program.accuracy(0.95, 0.1), 5, test_sets=50, resamples=200)
    assert (few.held, few.exact) == (1, 1)
    assert few.width > 5 * found.width
