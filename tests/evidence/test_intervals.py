from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest, t

from phototrace.evidence.intervals import Interval, interval_of_mean, mean_of

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]
Make = Callable[[np.random.Generator], tuple[Numbers, Codes]]


def one_group(values: Numbers) -> Codes:
    return np.zeros(len(values), dtype=np.int64)


def over(
    values: Numbers, clusters: Codes, groups: Codes | None = None, **options: object
) -> Interval:
    settings = {"by": "photo", "seed": 0, "resamples": 300, **options}
    groups = one_group(values) if groups is None else groups
    return interval_of_mean(values, groups, clusters, **settings)  # type: ignore[arg-type]


def uneven(seed: int = 3, count: int = 15) -> tuple[Numbers, Codes, Codes]:
    """Values, classes and clusters where clusters and classes differ in size and in difficulty."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(count), rng.integers(3, 12, count))
    groups = (clusters + rng.integers(0, 2, len(clusters))) % 3
    values = (rng.random(len(clusters)) < rng.beta(4, 1, count)[clusters]).astype(np.float64)
    return values, groups, clusters


def test_mean_of_groups_counts_each_alike() -> None:
    values, groups = np.array([1.0, 1, 0, 0, 0, 0]), np.array([0, 0, 7, 7, 7, 7])
    assert mean_of(values, one_group(values)) == pytest.approx(1 / 3)
    assert mean_of(values, groups) == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_the_bootstrap_is_what_drawing_whole_clusters_gives(balanced: bool, signed: bool) -> None:
    values, groups, clusters = uneven()
    values = values - 0.5 if signed else values
    groups = groups if balanced else one_group(values)
    weight = 1 / np.bincount(groups)[groups]
    drawn = np.random.default_rng(0).integers(0, 15, (300, 15))
    means = []
    for draw in drawn:
        rows = np.concatenate([np.flatnonzero(clusters == cluster) for cluster in draw])
        means.append(np.average(values[rows], weights=weight[rows]))
    value = mean_of(values, groups)
    assert np.average(values, weights=weight) == pytest.approx(value)
    sizes = np.bincount(clusters, weight)
    apart = np.bincount(clusters, weight * (values - value)) ** 2
    n = sizes.sum() ** 2 / np.sum(sizes**2)
    freedom = min(2 * apart.sum() ** 2 / np.sum(apart**2), n - 1)
    reach = t.ppf(0.975, freedom) * np.std(means) * np.sqrt(n / (n - 1))
    ends = np.array([value - reach, value + reach])
    if not signed:
        slope = value * (1 - value)
        ends = expit(logit(value) + np.array([-reach, reach]) / slope)
    found = over(values, clusters, groups, signed=signed)
    assert found.method == "bootstrap over photos"
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-9)


def test_where_few_clusters_fail_the_interval_is_wider_than_where_all_do() -> None:
    clusters = np.repeat(np.arange(30), 30)
    inside = np.tile(np.arange(30), 30)
    spread = (inside >= 3 + 3 * (clusters % 2)).astype(np.float64)
    few = np.where(clusters < 3, inside >= 25, inside >= 2).astype(np.float64)
    assert few.mean() == pytest.approx(spread.mean(), abs=0.01)
    wide, narrow = over(few, clusters), over(spread, clusters)
    assert wide.method == narrow.method == "bootstrap over photos"
    # Three clusters make the spread: Student's factor is that of six degrees of freedom, not 29.
    error = np.std([few[clusters == one].mean() for one in range(30)]) / np.sqrt(29)
    factor = (logit(few.mean()) - logit(wide.low)) * few.mean() * (1 - few.mean()) / error
    assert factor == pytest.approx(t.ppf(0.975, 6.3), rel=0.08)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


@pytest.mark.parametrize("signed", [False, True])
def test_no_interval_reaches_further_than_the_exact_one(signed: bool) -> None:
    """One cluster outweighs all others: what their spread says is next to nothing."""
    clusters = np.repeat(np.arange(9), [400, 2, 2, 2, 2, 2, 2, 2, 2])
    values = np.tile([0.0, 1.0], 208)
    values[:40] = 0
    found = over(values, clusters, signed=signed)
    assert found.method == "exact, photos as trials"
    assert (0 if not signed else -1) < found.low < 0.1
    assert 0.9 < found.high <= 1


@pytest.mark.parametrize("n", [1, 2, 12, 152])
def test_with_nothing_wrong_the_exact_bound_takes_clusters_as_trials(n: int) -> None:
    clusters = np.repeat(np.arange(n), 9)
    right = over(np.ones(9 * n), clusters)
    assert right.low == pytest.approx(0.025 ** (1 / n))
    assert right.high == 1
    wrong = over(np.zeros(9 * n), clusters)
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / n))
    assert wrong.low == 0
    assert right.method == "exact, photos as trials"


def test_unequal_clusters_count_for_fewer_trials() -> None:
    clusters = np.repeat(np.arange(10), [91, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    trials = 100**2 / (91**2 + 9)
    assert over(np.ones(100), clusters).low == pytest.approx(0.025 ** (1 / trials))


@pytest.mark.parametrize("bad", [1, 3, 5])
def test_rare_failures_of_whole_clusters_are_clopper_and_pearsons(bad: int) -> None:
    clusters = np.repeat(np.arange(40), 6)
    values = (clusters >= bad).astype(np.float64)
    theirs = binomtest(40 - bad, 40).proportion_ci(0.95)
    found = over(values, clusters)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_from_six_clusters_with_errors_on_it_is_the_bootstrap() -> None:
    clusters = np.repeat(np.arange(40), 6)
    five, six = ((clusters >= bad).astype(np.float64) for bad in (5, 6))
    assert over(five, clusters).method.startswith("exact")
    assert over(six, clusters).method.startswith("bootstrap")
    assert over(1 - five, clusters).method.startswith("exact")


def test_equal_clusters_do_not_give_an_interval_of_no_width() -> None:
    found = over(np.tile([0.0, 1.0], 20), np.repeat(np.arange(20), 2))
    assert found.low < 0.35
    assert found.high > 0.65


@pytest.mark.parametrize(("count", "reliable"), [(9, False), (10, True)])
def test_fewer_than_ten_clusters_are_not_to_be_relied_on(count: int, reliable: bool) -> None:
    found = over(np.tile([0.0, 1.0, 1.0], count), np.repeat(np.arange(count), 3), by="device")
    assert found.reliable is reliable
    assert bool(found.note) is not reliable
    assert reliable or "only 9 devices" in found.note


def test_the_seed_decides_the_interval() -> None:
    values, groups, clusters = uneven()
    assert over(values, clusters, groups) == over(values, clusters, groups)
    assert over(values, clusters, groups) != over(values, clusters, groups, seed=1)


def test_drawing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, _, clusters = uneven()
    whole = over(values, clusters)
    monkeypatch.setattr("phototrace.evidence.intervals._CHUNK", 100)
    assert over(values, clusters) == whole


def coverage(truth: float, make: Make, *, clustered: bool = True, signed: bool = False) -> float:
    """Share of 250 made-up test sets whose interval holds the truth."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(250):
        values, clusters = make(rng)
        clusters = clusters if clustered else np.arange(len(values))
        found = over(values, clusters, seed=seed, signed=signed)
        held += found.low <= truth <= found.high
    return held / 250


def like_patches_of_photos(rng: np.random.Generator) -> tuple[Numbers, Codes]:
    """Forty photos of nine patches; photos differ much in difficulty; 80 % right on average."""
    clusters = np.repeat(np.arange(40), 9)
    chance = rng.beta(1.6, 0.4, 40)[clusters]
    return (rng.random(360) < chance).astype(np.float64), clusters


def rarely_failing(rng: np.random.Generator) -> tuple[Numbers, Codes]:
    """Forty photos, of which three in a hundred fail as a whole."""
    clusters = np.repeat(np.arange(40), 9)
    return (rng.random(40) < 0.97).astype(np.float64)[clusters], clusters


def test_clustered_intervals_hold_the_truth_and_naive_ones_do_not() -> None:
    # Over 250 runs a coverage has a standard error of 1.4 points.
    assert 0.90 <= coverage(0.8, like_patches_of_photos) <= 0.99
    assert coverage(0.8, like_patches_of_photos, clustered=False) < 0.75


def few_and_unequal(rng: np.random.Generator) -> tuple[Numbers, Codes]:
    """Twelve devices of 12 to 240 patches that differ in difficulty; 80 % right on average."""
    clusters = np.repeat(np.arange(12), rng.choice([12, 28, 66, 155, 240], 12))
    chance = rng.beta(3.2, 0.8, 12)[clusters]
    return (rng.random(len(clusters)) < chance).astype(np.float64), clusters


def test_few_clusters_of_unequal_size_are_covered() -> None:
    """Without the widening, 1.96 standard errors hold the truth in 85 % of cases."""
    assert 0.92 <= coverage(0.8, few_and_unequal) <= 0.98


def test_rare_failures_are_covered_too() -> None:
    assert coverage(0.97, rarely_failing) >= 0.95
    assert coverage(0.97, rarely_failing, clustered=False) < 0.75


def no_better(rng: np.random.Generator) -> tuple[Numbers, Codes]:
    """Thirty photos of nine patches where one run wins on a photo as often as the other."""
    clusters = np.repeat(np.arange(30), 9)
    lean = rng.normal(0, 0.25, 30)[clusters]
    return np.sign(np.round(lean + rng.normal(0, 0.35, 270))), clusters


def test_differences_of_equal_runs_hold_zero() -> None:
    assert 0.89 <= coverage(0, no_better, signed=True) <= 0.99
    assert coverage(0, no_better, signed=True, clustered=False) < 0.8


def test_a_difference_on_five_photos_only_does_not_exclude_zero() -> None:
    clusters = np.repeat(np.arange(50), 4)
    five, six = ((clusters < count).astype(np.float64) for count in (5, 6))
    found = over(five, clusters, signed=True)
    assert found.method == "exact, photos as trials"
    assert found.low < 0 < found.high
    assert over(six, clusters, signed=True).method == "bootstrap over photos"


def test_no_difference_at_all_still_has_a_width() -> None:
    found = over(np.zeros(300), np.repeat(np.arange(100), 3), signed=True)
    assert found.high == pytest.approx(1 - 0.0125 ** (1 / 100))
    assert found.low == pytest.approx(-found.high)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 3), st.sampled_from([-1.0, 0.0, 1.0])),
        min_size=1,
        max_size=60,
    ),
    signed=st.booleans(),
)
def test_any_interval_holds_its_value_and_stays_in_range(
    rows: list[tuple[int, int, float]], signed: bool
) -> None:
    clusters, groups, values = (np.array(column) for column in zip(*rows, strict=True))
    values = values if signed else np.abs(values)
    found = over(values, clusters, groups, signed=signed, resamples=100)
    assert -1 * signed <= found.low <= mean_of(values, groups) + 1e-12
    assert mean_of(values, groups) - 1e-12 <= found.high <= 1
    assert found.low < found.high
    # What clusters and groups are called has no part in it.
    renamed = over(values, 100 + clusters, groups + 5, signed=signed,
                   resamples=100)  # fmt: skip
    assert renamed == found
