"""How far a share can be trusted, when the patches of one photo are not independent.

Nine patches of one photo are right or wrong together, and so are the photos of one device. Whole
clusters (photos, devices or scenes) are therefore drawn again, never single patches.

Two methods, and every interval says which it is:

* *bootstrap*: Student's interval with the standard error over redrawn clusters, for a share on the
  scale of log odds (Korn and Graubard 1998, Survey Methodology 24, compare such intervals).
  Clusters of unequal size count for fewer (Kish 1965, "Survey Sampling"). Where a few clusters make
  most of the spread, the degrees of freedom are few (Satterthwaite 1946, Biometrics Bulletin 2).
* *exact*: Clopper and Pearson's bounds with each cluster as one trial. Taken where fewer than six
  clusters hold anything wrong (or anything right), since so few do not show the spread. With
  nothing wrong in n equal clusters the lower bound is (0.05 / 2) ** (1 / n). No bootstrap interval
  reaches further than the exact one, which takes every cluster as right or wrong as a whole.

How often they hold the truth, in percent, for clusters of 12 to 240 patches (more, and how it was
measured, in docs/intervals.md):

    true accuracy, correlation in a cluster     5 clusters     10     20     40
    60 %, 0.1                                          100   96.0   95.1   95.5
    95 %, 0.1                                          100   97.4   92.7   94.3
    60 %, 0.5                                          100   97.0   95.4   95.8
    95 %, 0.5                                         99.8   99.5   98.8   94.6
    one cluster in 20 right for 30 % only             99.9   83.0   63.2   78.7

Of five clusters, and of errors that are rare, intervals are exact and on the safe side. No interval
allows for a kind of cluster that was not drawn: that is the last line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit, logit, stdtrit

CONFIDENCE = 0.95
FEW_CLUSTERS = 10
"""With fewer than this, an interval is marked as not to be relied on."""
RARE = 6
"""Of six clusters that differ all one way, chance makes 1/32 (two-sided); of five 1/16: only from
six on can a difference be told from none at 95 %."""

_CHUNK = 2_000_000
_ROUNDING = 1e-9
_LEAST_FREEDOM = 0.1
"""With so few degrees of freedom Student's interval holds everything, as it does with fewer."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, with what was drawn again to get it."""

    by: str
    """What counts as one independent observation: "photo", "device" or "scene"."""
    clusters: int
    low: float
    high: float
    method: str
    note: str
    """What to keep in mind, "" if nothing."""

    @property
    def reliable(self) -> bool:
        """Whether there were enough clusters."""
        return self.clusters >= FEW_CLUSTERS


@dataclass(frozen=True)
class Figure:
    """A share in [0, 1] (or a difference in [-1, 1]) with its intervals and what is behind it."""

    value: float
    patches: int
    photos: int
    devices: int
    scenes: int
    intervals: tuple[Interval, ...]
    """Over photos first; then over devices and scenes, where there are at least two."""

    @property
    def interval(self) -> Interval:
        """The one to quote: the widest of those over ten clusters or more, else that over photos.

        The coarser cluster is the more honest one for photos of devices and scenes not yet met,
        but says nothing where there are too few of them.
        """
        reliable = [interval for interval in self.intervals if interval.reliable]
        return max(reliable, key=lambda i: i.high - i.low, default=self.intervals[0])

    @property
    def low(self) -> float:
        """Lower end of `interval`."""
        return self.interval.low

    @property
    def high(self) -> float:
        """Upper end of `interval`."""
        return self.interval.high

    @property
    def method(self) -> str:
        """How `interval` was made."""
        return self.interval.method


@dataclass(frozen=True)
class Trials:
    """What a share is counted over, (n,) each: patches, or decisions on photos."""

    value: NDArray[np.float64]
    label: NDArray[np.int64]
    photo: NDArray[np.int64]
    device: NDArray[np.int64]
    scene: NDArray[np.int64]
    patches: NDArray[np.int64]
    """How many patches each stands for."""
    seed: int
    resamples: int

    def figure(
        self,
        chosen: NDArray[np.bool_] | None = None,
        *,
        balanced: bool = False,
        signed: bool = False,
    ) -> Figure:
        """Mean value, or mean of the classes' means, of the chosen trials, with intervals."""
        keep = np.ones(len(self.value), dtype=np.bool_) if chosen is None else chosen
        value = self.value[keep]
        groups = self.label[keep] if balanced else np.zeros(len(value), dtype=np.int64)
        codes = {name: getattr(self, name)[keep] for name in ("photo", "device", "scene")}
        counts = {name: len(np.unique(code)) for name, code in codes.items()}
        intervals = tuple(
            interval_of_mean(
                value,
                groups,
                code,
                by=name,
                seed=self.seed,
                resamples=self.resamples,
                signed=signed,
            )
            for name, code in codes.items()
            if name == "photo" or counts[name] >= 2
        )
        return Figure(
            value=mean_of(value, groups),
            patches=int(self.patches[keep].sum()),
            photos=counts["photo"],
            devices=counts["device"],
            scenes=counts["scene"],
            intervals=intervals,
        )


def mean_of(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Mean over groups of the mean `values` of each group; both (n,), n at least 1.

    With one group it is the accuracy, with the true classes as groups the balanced accuracy.
    """
    sums = np.bincount(groups, values)
    counts = np.bincount(groups)
    return float(np.mean(sums[counts > 0] / counts[counts > 0]))


def interval_of_mean(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    *,
    by: str,
    seed: int,
    resamples: int,
    signed: bool = False,
) -> Interval:
    """The 95 % interval of `mean_of(values, groups)` when whole clusters are drawn again.

    Args:
        values: (n,) in [0, 1]; in [-1, 1] where `signed`, for paired differences.
        groups: (n,) see `mean_of`.
        clusters: (n,) which cluster each value is of.
        by: what a cluster is, in the singular.
        seed: the same seed gives the same interval.
        resamples: how often to draw.
        signed: whether values are differences, so that 0 and not 1 means "nothing seen".
    """
    _, groups = np.unique(groups, return_inverse=True)
    names, clusters = np.unique(clusters, return_inverse=True)
    count = len(names)
    note = ""
    if count < FEW_CLUSTERS:
        note = f"only {counted(count, by)}: too few to predict the accuracy on others"
    sums, weights = _by_cluster(values, groups, clusters)
    exact = low, high = _exact(values, groups, _effective(weights), signed)
    if not _rare(values, clusters, signed):
        ends = _bootstrap(sums, weights, signed, seed, resamples)
        if ends[0] < ends[1]:
            # Nothing is worse than clusters that are right or wrong as a whole.
            low, high = max(ends[0], low), min(ends[1], high)
    if (low, high) == exact:
        return Interval(by, count, low, high, f"exact, {by}s as trials", note)
    return Interval(by, count, low, high, f"bootstrap over {by}s", note)


def _rare(values: NDArray[np.float64], clusters: NDArray[np.int64], signed: bool) -> bool:
    """Whether too few clusters differ from the rest for their spread to be known."""
    if signed:
        return len(np.unique(clusters[values != 0])) < RARE
    wrong, right = np.unique(clusters[values < 1]), np.unique(clusters[values > 0])
    return min(len(wrong), len(right)) < RARE


def _by_cluster(
    values: NDArray[np.float64], groups: NDArray[np.int64], clusters: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each cluster adds to `mean_of`, and its weight, (clusters,) each; weights sum to 1."""
    sizes = np.bincount(groups)
    cells = clusters * len(sizes) + groups
    shape = (int(clusters.max()) + 1, len(sizes))
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(cells, values, minlength=shape[0] * shape[1]).reshape(shape)
    share = 1 / (len(sizes) * sizes)  # every group counts alike, whatever its size
    return sums @ share, counts @ share


def _effective(parts: NDArray[np.float64]) -> float:
    """How many equal parts would tell as much as these (Kish 1965): 1 to their number."""
    return float(parts.sum() ** 2 / np.sum(parts**2))


def _bootstrap(
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
    signed: bool,
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    """Student's interval with the standard error that redrawn clusters show.

    A share is taken on the scale of log odds: there the interval stays within 0 and 1, and reaches
    further to the side where there is room. A difference is taken as it is.

    Args:
        sums: (clusters,) weight times value, summed over each cluster.
        weights: (clusters,) the weight of each; they sum to 1.
        signed: whether it is a difference.
        seed: of the draws.
        resamples: how often to draw.
    """
    value = float(sums.sum())
    means = [draws @ sums / (draws @ weights) for draws in _draws(len(sums), seed, resamples)]
    effective = _effective(weights)
    # Redrawn clusters differ too little, by this factor: the fewer there are, the less they do.
    error = float(np.std(np.concatenate(means)) * np.sqrt(effective / (effective - 1)))
    if error < _ROUNDING:
        return value, value
    # Satterthwaite's degrees of freedom, on the safe side: where a few clusters make most of the
    # spread, the spread is known no better than from those few.
    carrying = _effective((sums - value * weights) ** 2)
    freedom = max(min(2 * carrying, effective - 1), _LEAST_FREEDOM)
    reach = -float(stdtrit(freedom, (1 - CONFIDENCE) / 2)) * error
    if signed:
        return value - reach, value + reach
    middle, reach = logit(value), reach / (value * (1 - value))
    return float(expit(middle - reach)), float(expit(middle + reach))


def _draws(count: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """(some, count) arrays, `resamples` rows in all: how often each cluster was drawn."""
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // count)
    for start in range(0, resamples, rows):
        some = min(rows, resamples - start)
        drawn = rng.integers(0, count, (some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count)
        yield times.reshape(some, count).astype(np.float64)


def _exact(
    values: NDArray[np.float64], groups: NDArray[np.int64], trials: float, signed: bool
) -> tuple[float, float]:
    """Clopper and Pearson, with as many trials as equal clusters would tell as much.

    A signed mean is the share of gains less that of losses; each gets half of the doubt.
    """
    doubt = 1 - CONFIDENCE
    if not signed:
        return _clopper_pearson(mean_of(values, groups), trials, doubt)
    gain = _clopper_pearson(mean_of(np.maximum(values, 0), groups), trials, doubt / 2)
    loss = _clopper_pearson(mean_of(np.maximum(-values, 0), groups), trials, doubt / 2)
    return gain[0] - loss[1], gain[1] - loss[0]


def _clopper_pearson(share: float, trials: float, doubt: float) -> tuple[float, float]:
    """Bounds of a rate of which `share` was seen in `trials`, which need not be whole."""
    hits = min(share, 1.0) * trials
    low = float(betaincinv(hits, trials - hits + 1, doubt / 2)) if share > 0 else 0.0
    high = float(betaincinv(hits + 1, trials - hits, 1 - doubt / 2)) if share < 1 else 1.0
    return low, high


def counted(count: int, noun: str) -> str:
    """Such as "1 photo" and "1,200 photos"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
