"""How far a share can be trusted, when the patches of one photo are not independent.

Nine patches of one photo are right or wrong together, and so are the photos of one device. Whole
clusters (photos, devices or scenes) are therefore drawn again, never single patches.

Two methods, and every interval says which it is:

* *bootstrap*: percentiles over redrawn clusters, taken a little further out, as Hesterberg (2015,
  "What teachers should know about the bootstrap", Sec. 5.3) does to make up for few clusters.
* *exact*: Clopper and Pearson's bounds with each cluster as one trial. Taken where fewer than six
  clusters hold all that is wrong (or all that is right), since redrawing cannot show a kind of
  failure that was met too rarely. With nothing wrong in n equal clusters the lower bound is
  (0.05 / 2) ** (1 / n).

In simulations of 5 to 152 clusters whose true rate is 97 to 98 %, the bootstrap's "95 %" alone held
the truth in 13 to 93 % of cases; together the two methods do in 92 % or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, stdtrit

CONFIDENCE = 0.95
FEW_CLUSTERS = 10
"""With fewer than this, an interval is marked as not to be relied on."""
RARE = 6
"""Of six clusters that differ all one way, chance makes 1/32 (two-sided); of five 1/16: only from
six on can a difference be told from none at 95 %."""

_CHUNK = 2_000_000


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
        note = f"only {counted(count, by)}: too few to say how others would fare"
    if not _rare(values, clusters, signed):
        low, high = _bootstrap(values, groups, clusters, seed, resamples)
        if low < high:
            value = mean_of(values, groups)
            low, high = min(low, value), max(high, value)
            return Interval(by, count, low, high, f"bootstrap over {by}s", note)
    low, high = _exact(values, groups, clusters, signed)
    return Interval(by, count, low, high, f"exact, {by}s as trials", note)


def _rare(values: NDArray[np.float64], clusters: NDArray[np.int64], signed: bool) -> bool:
    """Whether too few clusters differ from the rest for redrawing to show their share."""
    if signed:
        return len(np.unique(clusters[values != 0])) < RARE
    wrong, right = np.unique(clusters[values < 1]), np.unique(clusters[values > 0])
    return min(len(wrong), len(right)) < RARE


def _bootstrap(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    seed: int,
    resamples: int,
) -> tuple[float, float]:
    count, k = int(clusters.max()) + 1, int(groups.max()) + 1
    cells = clusters * k + groups
    sums = np.bincount(cells, values, minlength=count * k).reshape(count, k)
    sizes = np.bincount(cells, minlength=count * k).reshape(count, k).astype(np.float64)
    means = []
    for draws in _draws(count, seed, resamples):
        drawn = draws @ sizes
        with np.errstate(invalid="ignore"):
            # A group that was not drawn has no mean: the others speak for that draw.
            means.append(np.nanmean(draws @ sums / drawn, axis=1))
    tail = ndtr(np.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - CONFIDENCE) / 2))
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


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
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    signed: bool,
) -> tuple[float, float]:
    """Clopper and Pearson, with as many trials as equal clusters would tell as much (Kish).

    A signed mean is the share of gains less that of losses; each gets half of the doubt.
    """
    sizes = np.bincount(groups)
    weight = 1 / (len(sizes) * sizes[groups])
    trials = 1 / float(np.sum(np.bincount(clusters, weight) ** 2))
    if not signed:
        return _clopper_pearson(mean_of(values, groups), trials, 1 - CONFIDENCE)
    gain = _clopper_pearson(mean_of(np.maximum(values, 0), groups), trials, (1 - CONFIDENCE) / 2)
    loss = _clopper_pearson(mean_of(np.maximum(-values, 0), groups), trials, (1 - CONFIDENCE) / 2)
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
