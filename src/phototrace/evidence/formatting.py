"""Numbers and names as people read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import TYPE_CHECKING

from phototrace.evidence.intervals import RARE, Figure, counted

if TYPE_CHECKING:
    from phototrace.evidence.comparison import Comparison
    from phototrace.evidence.evaluation import Evaluation

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


def span(figure: Figure) -> str:
    """The interval to quote, with what it is over."""
    interval = figure.interval
    kind = ", exact," if "exact" in interval.method else ""
    return (
        f"95 % interval{kind} {percent(interval.low)} to {percent(interval.high)}"
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


def headline(evaluation: Evaluation) -> str:
    """The result in a sentence or two, with its interval and what it was tested on."""
    figure = evaluation.accuracy
    said = (
        f"{percent(figure.value)} % of patches were classified correctly"
        f" ({span(figure)}; {test_set(figure)})."
    )
    return f"{said} {wide(figure)}".rstrip()


def verdict(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    difference = comparison.difference
    interval = difference.interval
    bounds = (
        f"95 % interval {points(interval.low)} to {points(interval.high)}"
        f" over {counted(interval.clusters, interval.by)}"
    )
    a, b = shown(comparison.a), shown(comparison.b)
    if not comparison.excludes_zero:
        return (
            f"{a} and {b} do not differ beyond chance on these patches: the difference is"
            f" {points(difference.value)} points ({bounds}, which includes zero)."
        )
    better, other = (a, b) if difference.value > 0 else (b, a)
    return (
        f"{better} is more accurate than {other}: {a} minus {b} is"
        f" {points(difference.value)} points ({bounds})."
    )
