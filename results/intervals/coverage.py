"""How often the 95 % intervals hold the truth, by simulation: docs/intervals.md.

    python results/intervals/coverage.py

writes `coverage.csv` beside this file, prints the table and puts it into the page, in about two
minutes on one core. Test sets are made up whose truth is known, `interval_of_mean` makes an
interval for each, and it is counted how often that holds the truth. With 4,000 test sets a coverage
of 95 % is known to 0.7 points (two standard errors).

A test set has 5, 10, 20 or 40 clusters (photos, devices, scenes) of 12 to 240 patches, sizes drawn
at random. Each cluster has a rate of its own, drawn from a beta distribution; its patches are right
at that rate. `correlation` is that of two patches of one cluster: in the predictions stored under
`results/` it is 0.00 to 0.15 for manipulations and 0.1 to 0.6 for camera models.

What an interval is to hold is what the figure tends to with ever more clusters of the same kind:
each patch counts alike, so clusters count by their sizes, E[size * rate] / E[size]; a balanced
accuracy tends to the mean over classes of that; a paired difference to the rate of gains less
that of losses, likewise by size.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from phototrace.evidence.formatting import percent, points
from phototrace.evidence.intervals import interval_of_mean
from phototrace.evidence.markdown import fill_page, table
from phototrace.evidence.predictions import Predictions
from phototrace.files import write_text

HERE = Path(__file__).parent
NUMBERS = HERE / "coverage.csv"
RESULTS = HERE.parent
PAGE = HERE.parents[1] / "docs/intervals.md"
REAL = RESULTS / "simulator/predictions-simulated-manipulation-128.parquet"
SEED = 20
TEST_SETS = 4000
RESAMPLES = 1000
CLUSTERS = (5, 10, 20, 40)
SIZES = np.round(np.geomspace(12, 240, 8)).astype(np.int64)
"""Patches of a cluster; each as likely as the others."""
CLASSES = 6

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]
TestSet = tuple[Numbers, Codes, Codes]
"""Values, groups and clusters, (patches,) each: see `interval_of_mean`."""


@dataclass(frozen=True)
class Scenario:
    """A kind of test set.

    Attributes:
        name: What is estimated, and from what.
        truth: What the figure tends to.
        correlation: Of two patches of one cluster, None where it is not given by one number.
        make: Makes a test set of so many clusters.
        signed: Whether it is a difference.
    """

    name: str
    truth: float
    correlation: float | None
    make: Callable[[np.random.Generator, int], TestSet]
    signed: bool = False


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one scenario and number of clusters fared; all in [0, 1] but width.

    Attributes:
        held: Share of intervals that hold the truth.
        above: Share that lie wholly above it.
        below: Share that lie wholly below it.
        width: Mean of high - low.
        exact: Share made by the exact method; the others are by bootstrap.
    """

    held: float
    above: float
    below: float
    width: float
    exact: float


def rates(rng: np.random.Generator, mean: float | Numbers, correlation: float, n: int) -> Numbers:
    """Rates of n clusters; two patches of one are correlated by as much as is asked, (n,)."""
    both = 1 / correlation - 1
    return rng.beta(mean * both, (1 - np.asarray(mean)) * both, n)


def drawn(rng: np.random.Generator, rate: Numbers, size: Codes) -> TestSet:
    """Patches of clusters with these rates and sizes, one group."""
    clusters = np.repeat(np.arange(len(size)), size)
    values = (rng.random(len(clusters)) < rate[clusters]).astype(np.float64)
    return values, np.zeros_like(clusters), clusters


def accuracy(mean: float, correlation: float) -> Scenario:
    """Share of patches right."""

    def make(rng: np.random.Generator, count: int) -> TestSet:
        return drawn(rng, rates(rng, mean, correlation, count), rng.choice(SIZES, count))

    return Scenario("accuracy", mean, correlation, make)


def larger_fail_more(lowest: float, highest: float, correlation: float) -> Scenario:
    """Accuracy where the mean rate falls evenly with the rank of the size."""
    mean = np.linspace(highest, lowest, len(SIZES))

    def make(rng: np.random.Generator, count: int) -> TestSet:
        kind = rng.integers(0, len(SIZES), count)
        return drawn(rng, rates(rng, mean[kind], correlation, count), SIZES[kind])

    truth = float(SIZES @ mean / SIZES.sum())
    return Scenario("accuracy, larger clusters fail more", truth, correlation, make)


def some_fail(share: float, rate: float, failing: float) -> Scenario:
    """Accuracy where a few clusters fail at a rate of their own."""

    def make(rng: np.random.Generator, count: int) -> TestSet:
        each = np.where(rng.random(count) < share, failing, rate)
        return drawn(rng, each, rng.choice(SIZES, count))

    truth = share * failing + (1 - share) * rate
    name = f"accuracy, one cluster in {1 / share:.0f} is right for {failing:.0%} only"
    return Scenario(name, truth, None, make)


def balanced(mean: float, correlation: float) -> Scenario:
    """Balanced accuracy where every cluster holds patches of all classes, some harder."""
    offset = np.linspace(-1, 1, CLASSES) * 0.8 * (1 - mean)
    both = 1 / correlation - 1

    def make(rng: np.random.Generator, count: int) -> TestSet:
        _, _, clusters = drawn(rng, np.ones(count), rng.choice(SIZES, count))
        groups = rng.integers(0, CLASSES, len(clusters))
        # A cluster that is hard for one class is hard for all: one place in every distribution.
        place = rng.random(count)
        each = np.stack([betaincinv(m * both, (1 - m) * both, place) for m in mean + offset])
        values = (rng.random(len(clusters)) < each[groups, clusters]).astype(np.float64)
        return values, groups, clusters

    return Scenario("balanced accuracy, all classes in a cluster", mean, correlation, make)


def balanced_by_device(mean: float, correlation: float) -> Scenario:
    """Balanced accuracy where a cluster is of one class, as devices are of one camera model."""

    def make(rng: np.random.Generator, count: int) -> TestSet:
        classes = max(5, count // 2)
        offset = np.linspace(-1, 1, classes) * 0.8 * (1 - mean)
        kind = np.arange(count) % classes
        each = rates(rng, mean + offset[kind], correlation, count)
        values, _, clusters = drawn(rng, each, rng.choice(SIZES, count))
        return values, kind[clusters], clusters

    return Scenario("balanced accuracy, one class in a cluster", mean, correlation, make)


def difference(gain: float, loss: float, correlation: float) -> Scenario:
    """Paired difference: one run is right and the other wrong, or the reverse, or neither."""
    both = 1 / correlation - 1

    def make(rng: np.random.Generator, count: int) -> TestSet:
        each = rng.dirichlet(both * np.array([gain, loss, 1 - gain - loss]), count)
        chance, groups, clusters = drawn(rng, np.ones(count), rng.choice(SIZES, count))
        chance = rng.random(len(clusters))
        won, lost = each[clusters, 0], each[clusters, 1]
        values = (chance < won).astype(np.float64) - ((chance >= won) & (chance < won + lost))
        return values, groups, clusters

    name = f"difference of runs, {gain:.0%} gains and {loss:.0%} losses"
    return Scenario(name, gain - loss, correlation, make, signed=True)


def real(by: str) -> Scenario:
    """Accuracy on clusters drawn from those of real photos: their sizes and their accuracies.

    The predictions are of a network for six manipulations. Only unaltered patches are used, because
    their accuracy differs most from device to device.
    """
    found = Predictions.load(REAL)
    kept = found.label == found.classes.index("unaltered")
    names, clusters = np.unique(getattr(found, by)[kept], return_inverse=True)
    right = (found.predicted == found.label)[kept].astype(np.float64)
    order = np.argsort(clusters, kind="stable")
    parts = np.split(right[order], np.cumsum(np.bincount(clusters))[:-1])

    def make(rng: np.random.Generator, count: int) -> TestSet:
        taken = [parts[one] for one in rng.integers(0, len(parts), count)]
        codes = np.repeat(np.arange(count), [len(part) for part in taken])
        return np.concatenate(taken), np.zeros_like(codes), codes

    name = f"accuracy, drawn from {len(names)} {by}s of real photos"
    return Scenario(name, float(right.mean()), None, make)


def scenarios() -> list[Scenario]:
    """All that is simulated, in the table's order."""
    means, correlations = (0.60, 0.85, 0.95, 0.99), (0.1, 0.5)
    return [
        *(accuracy(mean, one) for one in correlations for mean in means),
        larger_fail_more(0.50, 0.90, 0.1),
        real("device"),
        real("scene"),
        *(balanced(mean, 0.1) for mean in (0.85, 0.95)),
        *(balanced_by_device(mean, 0.5) for mean in (0.60, 0.85)),
        *(difference(*rate, 0.1) for rate in ((0.06, 0.06), (0.05, 0.02), (0.03, 0.18))),
        difference(0.10, 0.10, 0.5),
        some_fail(0.05, 0.99, 0.30),
    ]


def coverage(
    scenario: Scenario, count: int, *, test_sets: int = TEST_SETS, resamples: int = RESAMPLES
) -> Coverage:
    """Make test sets of so many clusters and see what their intervals hold."""
    rng = np.random.default_rng([SEED, count])
    found = []
    for seed in range(test_sets):
        one = interval_of_mean(
            *scenario.make(rng, count), by="device", seed=seed, resamples=resamples,
            signed=scenario.signed,
        )  # fmt: skip
        found.append((one.low, one.high, one.method.startswith("exact")))
    low, high, exact = np.array(found).T
    # A bound that is the truth but for rounding holds it.
    above, below = low > scenario.truth + 1e-12, high < scenario.truth - 1e-12
    return Coverage(
        held=float(np.mean(~above & ~below)),
        above=float(above.mean()),
        below=float(below.mean()),
        width=float(np.mean(high - low)),
        exact=float(exact.mean()),
    )


def measured(scenario: Scenario) -> Iterator[dict[str, str]]:
    """One row of `coverage.csv` for each number of clusters."""
    for count in CLUSTERS:
        found = coverage(scenario, count)
        numbers = asdict(found) | {"bootstrap": 1 - found.exact}
        yield {
            "scenario": scenario.name,
            "truth": f"{scenario.truth:.4f}",
            "signed": str(scenario.signed),
            "correlation": "" if scenario.correlation is None else f"{scenario.correlation:g}",
            "clusters": str(count),
            **{name: f"{number:.4f}" for name, number in numbers.items()},
        }


def page_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Coverage in percent, in brackets the mean width in points; one row a scenario."""
    lines = []
    for start in range(0, len(rows), len(CLUSTERS)):
        several = rows[start : start + len(CLUSTERS)]
        one = several[0]
        truth = float(one["truth"])
        lines.append(
            (
                one["scenario"],
                points(truth) if one["signed"] == "True" else percent(truth),
                one["correlation"],
                *(_cell(row) for row in several),
            )
        )
    head = ("what", "truth, %", "correlation", *(f"{count} clusters" for count in CLUSTERS))
    return table(head, lines)


def _cell(row: Mapping[str, str]) -> str:
    exact = float(row["exact"])
    how = f", {100 * exact:.0f} % exact" if exact >= 0.01 else ""
    return f"{percent(float(row['held']))} ({100 * float(row['width']):.0f}{how})"


def stored() -> list[dict[str, str]]:
    """The rows of `coverage.csv`."""
    return list(csv.DictReader(io.StringIO(NUMBERS.read_text(encoding="utf-8"))))


def main() -> None:
    """Simulate, write the numbers, print the table and put it into the page."""
    rows = [row for scenario in scenarios() for row in measured(scenario)]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(NUMBERS, out.getvalue())
    fill_page(PAGE, {"coverage": page_table(rows)})
    print(page_table(rows))
    print(f"Seed {SEED}, numpy {version('numpy')}, scipy {version('scipy')}.")


if __name__ == "__main__":
    main()
