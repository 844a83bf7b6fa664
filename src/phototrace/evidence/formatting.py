"""Numbers and names as people read them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Collection

from phototrace.evidence.comparison import Comparison, NumberComparison
from phototrace.evidence.evaluation import Evaluation
from phototrace.evidence.intervals import RARE, Figure, counted
from phototrace.evidence.numbers import NumberEvaluation

WIDE = 0.1
"""An interval that ends further than this from its value is explained in a sentence."""
SEVERAL = 20
"""With fewer clusters than this, a wide interval is attributed to their number."""
_UNPRINTED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def shown(text: str, limit: int = 60) -> str:
    """`text` fit to be shown: no control or direction-changing characters, and not endless."""
    clean = "".join("\ufffd" if unicodedata.category(c) in _UNPRINTED else c for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "\u2026"


def percent(share: float) -> str:
    """A share as a percentage of one decimal; "100" and "0" only where it is exactly that."""
    if share in (0, 1):
        return f"{100 * share:.0f}"
    text = f"{100 * share:.1f}"
    return {"100.0": ">99.9", "0.0": "<0.1"}.get(text, text)


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")


def number(value: float, range: tuple[float, float]) -> str:
    """A value as fine as its range asks for: of 50 to 95 two decimals, of 0 to 1 three."""
    decimals = max(0, 3 - math.floor(math.log10(range[1] - range[0])))
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else _minus(text)


def signed_number(value: float, range: tuple[float, float]) -> str:
    """The same with its sign."""
    text = number(value, range)
    return text if value < 0 or float(text.replace(",", "")) == 0 else f"+{text}"


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def span(figure: Figure, written: Callable[[float], str] = percent) -> str:
    """The interval to quote, with what it is over."""
    interval = figure.interval
    kind = ", exact," if "exact" in interval.method else ""
    return (
        f"95 % interval{kind} {written(interval.low)} to {written(interval.high)}"
        f" over {counted(interval.clusters, interval.by)}"
    )


def wide(figure: Figure) -> str:
    """What the interval of a share means where few clusters or rare errors make it wide, else "".

    "99.7 % (67.0 to 100)" looks like a doubt about 99.7 %. It means that 21 scenes cannot show how
    often others fail.
    """
    interval, value = figure.interval, figure.value
    exact = "exact" in interval.method
    below, above = value - interval.low > WIDE, interval.high - value > WIDE
    if not (below or above) or (interval.clusters >= SEVERAL and not exact):
        return ""
    clusters = counted(interval.clusters, interval.by)
    wrong = f"up to {percent(1 - interval.low)} % are wrong"
    right = f"up to {percent(interval.high)} % are correct"
    others = f"so few cannot rule out that in other {interval.by}s"
    if value == 1:
        return f"No error occurred in {clusters}, but {others} {wrong}."
    if value == 0:
        return f"Nothing was correct in {clusters}, but {others} {right}."
    if interval.clusters < RARE or (below and above) or not exact:
        low, high = percent(interval.low), percent(interval.high)
        return f"Tested on {clusters} only: {others} {low} or {high} % are correct."
    met = f"occurred in too few of {clusters} to tell how common they are:"
    return (
        f"Errors {met} {others} {wrong}." if below else f"Correct results {met} {others} {right}."
    )


def saved_anew(quality: int) -> str:
    """What to keep in mind where every photo was recompressed at one JPEG quality."""
    return (
        f"Every photo was recompressed at quality {quality} before patches were cut. Traces of its "
        "first compression can remain."
    )


def lowest_to_highest(counts: Collection[int]) -> str:
    """Such as "12 to 1,900", or "7" where all are the same."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def test_set(figure: Figure) -> str:
    """What the figure was tested on."""
    devices = counted(figure.devices, "device")
    scenes = counted(figure.scenes, "scene")
    return f"{counted(figure.photos, 'test photo')} from {devices} and {scenes}"


def kept_apart(by: str, test_devices: int = 0) -> str:
    """How a split `by` separates training from test, in a sentence or two."""
    apart = {
        "photo": "By photo, with bursts together. Training and test share devices and scenes",
        "device": "By device: one device of each camera model is for test only. Scenes are shared",
        "scene": "By scene, or by source collection. Camera models may be shared",
        "device and scene": "By device and by scene",
    }[by]
    kept = f" Devices for test only: {test_devices:,}." if test_devices else ""
    return f"{apart}.{kept}"


def headline(evaluation: Evaluation | NumberEvaluation) -> str:
    """The result in a sentence or two, with its interval and what it was tested on."""
    if isinstance(evaluation, NumberEvaluation):
        return _number_headline(evaluation)
    figure = evaluation.accuracy
    said = (
        f"{percent(figure.value)} % of patches were classified correctly"
        f" ({span(figure)}; {test_set(figure)})."
    )
    return " ".join(filter(None, (said, wide(figure), _balanced(evaluation))))


def _balanced(evaluation: Evaluation) -> str:
    """Balanced accuracy in a sentence, where classes were tested on unequally many patches."""
    counts = {row.recall.patches for row in evaluation.by_class if row.recall}
    if len(counts) == 1:
        return ""
    figure = evaluation.balanced_accuracy
    said = f"The balanced accuracy is {percent(figure.value)} %"
    return f"{said} ({span(figure)})."


def _number_headline(evaluation: NumberEvaluation) -> str:
    figure = evaluation.error
    return (
        f"The mean error is {number(figure.value, evaluation.range)} {shown(evaluation.unit)},"
        f" in a range of {ends(evaluation.range)}"
        f" ({number_span(figure, evaluation.range)}; {test_set(figure)})."
    )


def number_span(figure: Figure, range: tuple[float, float]) -> str:
    """The interval of a mean error to quote, with what it is over."""
    return span(figure, lambda value: number(value, range))


def ends(range: tuple[float, float]) -> str:
    """Such as "50 to 95"."""
    return f"{_minus(f'{range[0]:g}')} to {_minus(f'{range[1]:g}')}"


def condition_lines(evaluation: Evaluation | NumberEvaluation) -> list[str]:
    """The result under each condition, with its interval, one line each."""
    if isinstance(evaluation, NumberEvaluation):
        return [
            f"{shown(s.what)} {shown(s.value)}: {number(s.error.value, evaluation.range)} "
            f"({number(s.error.low, evaluation.range)} to "
            f"{number(s.error.high, evaluation.range)}, {counted(s.error.photos, 'photo')})"
            for s in evaluation.strata
        ]
    return [
        f"{shown(s.what)} {shown(s.value)}: {s.accuracy.value:.1%} "
        f"({s.accuracy.low:.1%} to {s.accuracy.high:.1%}, {counted(s.accuracy.photos, 'photo')})"
        f"{'. ' if wide(s.accuracy) else ''}{wide(s.accuracy)}"
        for s in evaluation.strata
    ]


def verdict(comparison: Comparison | NumberComparison) -> str:
    """The comparison in one sentence."""
    numbers = comparison if isinstance(comparison, NumberComparison) else None
    unit = shown(numbers.unit) if numbers else "points"
    interval, value = comparison.difference.interval, gain(comparison, comparison.difference.value)
    bounds = (
        f"95 % interval {gain(comparison, interval.low)} to {gain(comparison, interval.high)}"
        f" over {counted(interval.clusters, interval.by)}"
    )
    a, b = shown(comparison.a), shown(comparison.b)
    if not comparison.excludes_zero:
        return (
            f"{a} and {b} do not differ beyond chance on these patches: the difference is"
            f" {value} {unit} ({bounds}, which includes zero)."
        )
    better, other = (a, b) if comparison.difference.value > 0 else (b, a)
    if numbers:
        return (
            f"{better} has a smaller mean error than {other}: the error of {b} minus that of {a}"
            f" is {value} {unit} ({bounds})."
        )
    return f"{better} is more accurate than {other}: {a} minus {b} is {value} {unit} ({bounds})."


def gain(comparison: Comparison | NumberComparison, value: float) -> str:
    """A difference between two runs in points, or in the task's unit, with its sign."""
    if isinstance(comparison, NumberComparison):
        return signed_number(value, comparison.range)
    return points(value)
