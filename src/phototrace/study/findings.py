"""The paper's findings compared with a study's predictions: statements with numbers and intervals.

A finding "holds" where the 95 % interval lies wholly on the side that the paper claims, "does not
hold" where it lies wholly on the other, and is "not decided" otherwise. A finding of several parts
holds where all do, and does not hold where one fails, with the 5 % error shared among the parts.

Intervals are over photos, devices and scenes. They do not include the variation between trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import page_trend_test

from phototrace.evidence.formatting import lowest_to_highest, percent, points
from phototrace.evidence.intervals import CONFIDENCE, Figure, Trials
from phototrace.study.paper import Key
from phototrace.study.results import RESAMPLES, Answers

Verdict = Literal["holds", "does not hold", "not decided"]
SIGNIFICANT = 0.05
NAMES = {"A": "manipulation", "B": "camera", "C": "few-photo camera"}


@dataclass(frozen=True)
class Detail:
    """One number behind a finding: a difference in points, with what the paper has for it.

    The verdict is None where the number only describes and the finding does not rest on it.
    """

    what: str
    figure: Figure
    verdict: Verdict | None
    paper: float | None = None


@dataclass(frozen=True)
class Finding:
    """One of the paper's findings, and whether it holds in this study.

    Attributes:
        name: A word or two.
        claim: What the paper says.
        verdict: Whether these data support it.
        sentence: The study's own figures in words.
        details: The numbers behind.
    """

    name: str
    claim: str
    verdict: Verdict
    sentence: str
    details: tuple[Detail, ...]


def findings(answers: Answers) -> tuple[Finding, ...]:
    """All of the paper's findings, in its order."""
    return (
        asymmetry(answers),
        *(hierarchy(answers, target) for target in "AB"),
        shallow(answers),
        multitask(answers),
        trees(answers),
        unified(answers),
        limited(answers),
    )


def asymmetry(answers: Answers) -> Finding:
    """Camera features serve manipulation detection better than the reverse (Sec. 5.2)."""
    deepest = answers.depths[-1]
    lost = {
        "A": (Key("A", "single", "A"), Key("A", "transfer", "B", deepest)),
        "B": (Key("B", "single", "B"), Key("B", "transfer", "A", deepest)),
    }
    drops = {target: answers.difference(*pair) for target, pair in lost.items()}
    gap = _difference_of(answers, lost["B"], lost["A"])
    verdict = side(gap)
    return Finding(
        "task asymmetry",
        "Camera features work for manipulation detection, but manipulation features do not work "
        "for camera models: at fc2 the first loses 2.0 points, the second 39.7.",
        verdict,
        f"At {deepest}, single task minus transfer is {_points(drops['A'])} for manipulation on "
        f"camera features and {_points(drops['B'])} for camera models on manipulation features. "
        f"The second loss minus the first is {_points(gap)}.",
        (
            Detail("loss of manipulation on camera features", drops["A"], None, 0.020),
            Detail("loss of camera on manipulation features", drops["B"], None, 0.397),
            Detail("second loss minus first", gap, verdict, 0.377),
        ),
    )


def _difference_of(answers: Answers, a: Sequence[Key], b: Sequence[Key]) -> Figure:
    """The loss of the pair `a` minus the loss of `b`, photos of both targets drawn together."""
    values, labels = [], []
    codes: dict[str, list[str]] = {"photo": [], "device": [], "scene": []}
    for group, (pair, sign) in enumerate(((a, 1.0), (b, -1.0))):
        value = sign * (answers.right(pair[0]) - answers.right(pair[1]))
        values.append(value)
        labels.append(np.full(len(value), group))
        one = answers.predictions[pair[0]][0]
        for name, found in codes.items():
            found.extend(getattr(one, name).tolist())
    value = np.concatenate(values)
    trials = Trials(
        value=value,
        label=np.concatenate(labels),
        patches=np.ones(len(value), dtype=np.int64),
        seed=answers.seed,
        resamples=RESAMPLES,
        **{name: np.unique(found, return_inverse=True)[1] for name, found in codes.items()},
    )
    return times(trials.figure(balanced=True, signed=True), 2)  # a mean of two is half their sum


def times(figure: Figure, factor: float) -> Figure:
    """A figure and its intervals times a factor."""
    ends = [sorted((one.low * factor, one.high * factor)) for one in figure.intervals]
    intervals = tuple(
        replace(one, low=low, high=high)
        for one, (low, high) in zip(figure.intervals, ends, strict=True)
    )
    return replace(figure, value=figure.value * factor, intervals=intervals)


def hierarchy(answers: Answers, target: str) -> Finding:
    """Accuracy falls with share depth in transfer (Sec. 5.2)."""
    source = "B" if target == "A" else "A"
    keys = [Key(target, "transfer", source, depth) for depth in answers.depths]
    right = np.stack([answers.right(key) for key in keys], axis=1)
    order = np.arange(len(keys)) - (len(keys) - 1) / 2
    weights = order / np.sum(order**2)
    slope = answers.figure(target, right @ weights, signed=True)
    p = _page(answers, target, right)
    steps = [answers.difference(later, earlier) for earlier, later in pairwise(keys)]
    rises = [_falls(step, len(steps)) == "does not hold" for step in steps]
    falls = slope.high < 0 and (p is None or p < SIGNIFICANT)
    verdict: Verdict = "not decided"
    if falls and not any(rises):
        verdict = "holds"
    elif slope.low > 0 or any(rises):
        verdict = "does not hold"
    accuracy = ", ".join(
        f"{percent(float(r.mean()))} % at {k.depth}" for r, k in zip(right.T, keys, strict=True)
    )
    rising = [keys[n + 1].depth for n, found in enumerate(rises) if found]
    word = (
        f"It rises beyond chance at {', '.join(rising)}."
        if rising
        else "No step rises beyond chance."
    )
    return Finding(
        f"feature hierarchy, {NAMES[target]}",
        "Accuracy falls monotonically with share depth: shallow features are general, deep ones "
        "specific.",
        verdict,
        f"{NAMES[target].capitalize()} on {NAMES[source]} features: {accuracy}. Each "
        f"step in depth changes it by {_points(slope)} on average{_p(p)}. {word}",
        (
            Detail("mean change per step in depth", slope, _falls(slope)),
            *(
                Detail(f"{k.depth} minus the depth before", step, _falls(step, len(steps)))
                for k, step in zip(keys[1:], steps, strict=True)
            ),
        ),
    )  # fmt: skip


def _page(answers: Answers, target: str, right: NDArray[np.float64]) -> float | None:
    """P value of Page's trend test: photos are the blocks, and accuracy falls with depth.

    None where there are fewer than three depths.
    """
    photo = answers.trials(target, right[:, 0]).photo
    count = np.bincount(photo)
    means = np.stack([np.bincount(photo, column) / count for column in right.T], axis=1)
    if right.shape[1] < 3:
        return None
    return float(page_trend_test(means[:, ::-1], method="asymptotic").pvalue)


def shallow(answers: Answers) -> Finding:
    """Transfer at the first depth is as good as a network of its own (Sec. 5.2)."""
    first = answers.depths[0]
    details = []
    for target, source, paper in (("A", "B", 0.002), ("B", "A", 0.0)):
        difference = answers.difference(
            Key(target, "transfer", source, first), Key(target, "single", target)
        )
        details.append(
            Detail(f"{NAMES[target]}: transfer at {first} minus single", difference,
                   side(difference, -_margin(answers), parts=2), paper)
        )  # fmt: skip
    return Finding(
        "shallow transfer",
        "At constr, transfer is at least as good as a single-task network.",
        together(details),
        f"At {first}, transfer minus single task is "
        + "; ".join(f"{_points(d.figure)} ({d.what.split(':')[0]})" for d in details)
        + f". It counts as at least as good if the interval stays above "
        f"{points(-_margin(answers))} points.",
        tuple(details),
    )


def multitask(answers: Answers) -> Finding:
    """Multitask above transfer: camera at all depths, manipulation at the deep ones (Sec. 5.3)."""
    details = []
    deep = [depth for depth in answers.depths if depth in ("fc1", "fc2")]
    parts = len(answers.depths) + len(deep)
    for target, source, depths in (("B", "A", answers.depths), ("A", "B", deep)):
        for depth in depths:
            difference = answers.difference(
                Key(target, "multitask", "A+B", depth), Key(target, "transfer", source, depth)
            )
            paper = {("B", "fc2"): 0.390, ("A", "fc2"): 0.018}.get((target, depth))
            details.append(
                Detail(
                    f"{NAMES[target]} at {depth}", difference, side(difference, parts=parts), paper
                )
            )
    return Finding(
        "multitask above transfer",
        "Features trained together beat transferred ones: for camera models at all share depths, "
        "for manipulation at fc1 and fc2.",
        together(details),
        f"Multitask minus transfer is {_range(details)}.",
        tuple(details),
    )  # fmt: skip


def trees(answers: Answers) -> Finding:
    """Trees on fc2 features above the network's own output (Table 2)."""
    deepest = answers.depths[-1]
    details = []
    for target, features, way, paper in (
        ("A", "A", "single", 0.002), ("A", "B", "transfer", 0.013),
        ("A", "A+B", "multitask", 0.004), ("B", "A", "transfer", 0.147),
        ("B", "B", "single", 0.002), ("B", "A+B", "multitask", 0.008),
    ):  # fmt: skip
        network = Key(target, way, features, "" if way == "single" else deepest)
        difference = answers.difference(Key(target, "trees", features), network)
        what = f"{NAMES[target]} on {features}"
        details.append(Detail(what, difference, side(difference, parts=6), paper))
    return Finding(
        "trees above the network",
        "Extremely randomised trees on fc2 features are slightly better than the network's own "
        "output, in every case of Table 2.",
        together(details),
        f"Trees minus network is {_range(details)}.",
        tuple(details),
    )


def unified(answers: Answers) -> Finding:
    """Hybrid features come within a margin of single-task ones (Sec. 5.3)."""
    deepest, margin = answers.depths[-1], _margin(answers)
    details = []
    for target, network, forest in (("A", -0.002, 0.0), ("B", -0.007, -0.001)):
        pairs = (
            ("network", Key(target, "multitask", "A+B", deepest), Key(target, "single", target)),
            ("trees", Key(target, "trees", "A+B"), Key(target, "trees", target)),
        )
        for (what, ours, theirs), paper in zip(pairs, (network, forest), strict=True):
            difference = answers.difference(ours, theirs)
            details.append(
                Detail(
                    f"{NAMES[target]}, {what}",
                    difference,
                    side(difference, -margin, parts=4),
                    paper,
                )
            )
    return Finding(
        "unified features",
        "One feature extractor serves both tasks: at fc2 the hybrid comes within 0.2 points "
        "(manipulation) and 0.7 points (camera) of the single-task networks.",
        together(details),
        "Hybrid minus single task: "
        + ", ".join(f"{_points(d.figure)} ({d.what})" for d in details)
        + f". The margin is {100 * margin:g} point{'s' if margin != 0.01 else ''}.",
        tuple(details),
    )


def limited(answers: Answers) -> Finding:
    """With few photos, A+B+C > A+B > B > a network of its own (Sec. 5.4, Table 3)."""
    own = max(
        (Key("C", "single", "C"), Key("C", "longer", "C")),
        key=lambda key: answers.accuracy(key).value,
    )
    order = [
        ("trees on A+B+C", Key("C", "trees", "A+B+C")),
        ("trees on A+B", Key("C", "trees", "A+B")),
        ("trees on B", Key("C", "trees", "B")),
        ("the network on C alone", own),
    ]
    paper = (0.013, 0.026, 0.023)
    details = []
    for (better, a), (worse, b), theirs in zip(order, order[1:], paper, strict=False):
        difference = answers.difference(a, b)
        details.append(
            Detail(f"{better} minus {worse}", difference, side(difference, parts=4), theirs)
        )
    whole = answers.difference(order[0][1], own)
    details.append(
        Detail("trees on A+B+C minus the network on C alone", whole, side(whole, parts=4), 0.062)
    )
    photos = answers.facts["photos"]["C"]["train"]
    taken = "the hybrid's number of steps" if own.way == "longer" else "its own number of steps"
    return Finding(
        "few photos",
        "With few photos, unified features beat a network trained on C alone: trees on A+B+C are "
        "best, then trees on A+B, then trees on B, then the network.",
        together(details),
        f"With {lowest_to_highest(photos.values())} photos per class, trees on A+B+C minus a "
        f"network trained on C alone (with {taken}, the better of the two) is {_points(whole)}. "
        "In order: " + ", ".join(f"{_points(d.figure)} ({d.what})" for d in details[:-1]) + ".",
        tuple(details),
    )


def side(figure: Figure, threshold: float = 0.0, parts: int = 1) -> Verdict:
    """Whether the interval lies above a threshold, below it, or holds it.

    Of `parts` that must all hold, one fails by chance more easily than one alone: to fail it must
    lie below with the doubt shared out among them (Bonferroni).
    """
    if figure.low > threshold:
        return "holds"
    high = figure.value + (figure.high - figure.value) * _widening(parts)
    return "does not hold" if high < threshold else "not decided"


def _falls(figure: Figure, parts: int = 1) -> Verdict:
    return side(times(figure, -1), parts=parts)


def _widening(parts: int) -> float:
    """How much wider a 95 % interval is where the doubt of 5 % is shared among parts."""
    doubt = (1 - CONFIDENCE) / 2
    return float(ndtri(1 - doubt / parts) / ndtri(1 - doubt))


def together(details: Sequence[Detail]) -> Verdict:
    """All hold, or one fails, or it is not decided."""
    found = {detail.verdict for detail in details}
    if found == {"holds"}:
        return "holds"
    return "does not hold" if "does not hold" in found else "not decided"


def _range(details: Sequence[Detail]) -> str:
    """The smallest and the largest of several differences, and how many are above zero."""
    ordered = sorted(details, key=lambda detail: detail.figure.value)
    low, high = ordered[0], ordered[-1]
    held = sum(detail.figure.low > 0 for detail in details)
    return (
        f"between {_points(low.figure)} ({low.what}) and {_points(high.figure)} ({high.what}); "
        f"{held} of {len(details)} differences are above zero beyond chance"
    )


def _margin(answers: Answers) -> float:
    return float(answers.facts["recipe"]["margin"]) / 100


def _points(figure: Figure) -> str:
    """Such as "+1.2 points (+0.3 to +2.0)"."""
    return f"{points(figure.value)} points ({points(figure.low)} to {points(figure.high)})"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    found = "below 0.001" if value < 0.001 else f"= {value:.3f}"
    return f"; Page's test for a falling trend over photos gives p {found}"
