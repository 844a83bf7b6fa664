"""Saved results to figures. Nothing is computed here.

Each function returns the bytes of one SVG or PNG and leaves matplotlib's pyplot alone. Names of
classes and devices come from files: they are drawn as plain text, never as formulas.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from phototrace.errors import UsageError
from phototrace.evidence.comparison import Comparison, NumberComparison
from phototrace.evidence.evaluation import Evaluation
from phototrace.evidence.formatting import percent, shown
from phototrace.evidence.intervals import Figure, Interval
from phototrace.evidence.numbers import NumberEvaluation, too_few

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Format = Literal["svg", "png"]

INK, MUTED, GRID, PAPER = "#1b2733", "#5a6876", "#d8dee4", "#ffffff"
BLUE, ORANGE = "#0072b2", "#d55e00"
"""Okabe and Ito's, told apart with every kind of colour vision."""

MOST_DEVICES = 40
WIDTH = 5.6
"""Inches: still to be read when a phone shows it two thirds as large."""


def confusion_figure(evaluation: Evaluation, format: Format = "svg") -> bytes:
    """Of each true class (row), the share predicted as each class (column)."""
    k = len(evaluation.classes)
    names = [shown(name, 28) for name in evaluation.classes]
    cell, size = (0.62, 9.0) if k <= 12 else (max(0.24, 0.46 - 0.008 * k), 7.5)
    margin = 0.6 + 0.075 * max(map(len, names)) * size / 9
    canvas, (axes,) = new_canvas(max(4.0, k * cell + margin), max(3.0, k * cell + margin * 0.75))
    for i, row in enumerate(evaluation.confusion_shares):
        for j, share in enumerate(row):
            if share:
                _cell(axes, i, j, share, size if k <= 12 else None)
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), aspect="equal")
    name_ticks(axes, "x", names, rotation=40, ha="right", rotation_mode="anchor", size=size)
    name_ticks(axes, "y", names, size=size)
    for edge in range(k + 1):
        axes.axhline(edge - 0.5, color=GRID, linewidth=0.6, zorder=0)
        axes.axvline(edge - 0.5, color=GRID, linewidth=0.6, zorder=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    return to_bytes(canvas, format)


def _cell(axes: Axes, row: int, column: int, share: float, size: float | None) -> None:
    from matplotlib.patches import Rectangle

    colour = BLUE if row == column else ORANGE
    # Never see-through: also one patch in ten thousand must show.
    alpha = 0.1 + 0.9 * share
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=alpha, linewidth=0))
    if size is not None:
        paint = PAPER if share > 0.6 else INK
        text = percent(share)
        axes.text(column, row, text, ha="center", va="center", color=paint, size=size)


def photos_figure(evaluation: Evaluation, format: Format = "svg") -> bytes:
    """How many photos have which share of correct patches."""
    shares = [photo.right / photo.patches for photo in evaluation.by_photo]
    bins = 20
    counts = [0] * bins
    for share in shares:
        counts[min(int(share * bins), bins - 1)] += 1
    canvas, (axes,) = new_canvas(WIDTH, 2.7)
    bars = axes.bar([100 * (i + 0.5) / bins for i in range(bins)], counts, width=4.4, color=BLUE)
    labels = [f"{count:,}" if count else "" for count in counts]
    axes.bar_label(bars, labels, color=INK, size=8, padding=2)
    axes.set(xlim=(0, 100), xlabel="correct patches of a photo, %", ylabel="photos")
    axes.margins(y=0.15)
    axes.grid(visible=False, axis="x")
    return to_bytes(canvas, format)


def devices_figure(evaluation: Evaluation, format: Format = "svg") -> bytes:
    """Accuracy by device with 95 % intervals over its photos, the lowest on top; 40 at most."""
    groups = sorted(evaluation.by_device, key=lambda g: (g.accuracy.value, g.name))[:MOST_DEVICES]
    rows = [(group.name, group.seen, group.accuracy) for group in groups]
    canvas, axes = _device_rows(rows, evaluation.accuracy, times=100)
    axes.set(xlabel="accuracy, % of patches")
    axes.set_xlim(right=101)
    return to_bytes(canvas, format)


def device_errors_figure(evaluation: NumberEvaluation, format: Format = "svg") -> bytes:
    """Mean error by device with 95 % intervals over its photos, the largest on top; 40 at most."""
    groups = sorted(evaluation.by_device, key=lambda g: (-g.error.value, g.name))[:MOST_DEVICES]
    rows = [(group.name, group.seen, group.error) for group in groups]
    canvas, axes = _device_rows(rows, evaluation.error, unless=too_few)
    axes.set_xlabel(f"mean error, {shown(evaluation.unit, 40)}", parse_math=False)
    axes.set_xlim(left=0)
    return to_bytes(canvas, format)


_SEEN: dict[bool | None, tuple[str, str, str]] = {
    True: (BLUE, "o", "device seen in training"),
    False: (ORANGE, "D", "device never seen"),
    None: (MUTED, "s", "device unknown"),
}


def _device_rows(
    rows: Sequence[tuple[str, bool | None, Figure]],
    everyone: Figure,
    *,
    times: float = 1,
    unless: Callable[[Interval], bool] = lambda _: False,
) -> tuple[Canvas, Axes]:
    """A row a device: its name, whether training saw it, its figure; intervals `unless` told."""
    canvas, (axes,) = new_canvas(WIDTH, 1.2 + 0.25 * len(rows))
    for place, (_, seen, figure) in enumerate(rows):
        interval = figure.intervals[0]
        if not unless(interval):
            # Faint where too few photos make it wide and of little use.
            colour, alpha = _SEEN[seen][0], 0.6 if interval.reliable else 0.2
            ends = times * interval.low, times * interval.high
            axes.hlines(place, *ends, color=colour, linewidth=1.8, alpha=alpha)
    for was_seen, (colour, marker, label) in _SEEN.items():
        chosen = [(place, row[2].value) for place, row in enumerate(rows) if row[1] is was_seen]
        if chosen:
            places, values = zip(*chosen, strict=True)
            values = tuple(times * value for value in values)
            axes.plot(values, places, marker, color=colour, markersize=5, label=label)
    value = times * everyone.value
    axes.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="all patches")
    axes.set(ylim=(len(rows) - 0.4, -0.6))
    name_ticks(axes, "y", [shown(name, 40) for name, _, _ in rows])
    axes.grid(visible=False, axis="y")
    add_legend(canvas)
    return canvas, axes


def answers_figure(evaluation: NumberEvaluation, format: Format = "svg") -> bytes:
    """Predictions against true values: in each part of the range the median and the middle 80 %."""
    canvas, (axes,) = new_canvas(WIDTH, 4.2)
    low, high = evaluation.range
    axes.plot(
        [low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="no error"
    )
    bins = [(one.true_median, one.answers) for one in evaluation.by_bin]
    drawn = [(true, answers) for true, answers in bins if true is not None and answers]
    places = [true for true, _ in drawn]
    tenths, medians, ninetieths = zip(*(answers for _, answers in drawn), strict=True)
    # Bars and not a band: nothing is known of what lies between the parts that were tested.
    axes.vlines(
        places,
        tenths,
        ninetieths,
        color=BLUE,
        linewidth=7,
        alpha=0.3,
        label="middle 80 % of predictions",
    )
    axes.plot(places, medians, "o", color=BLUE, markersize=5, label="median prediction")
    unit = shown(evaluation.unit, 40)
    axes.set_xlabel(f"true value, {unit}", parse_math=False)
    axes.set_ylabel(f"prediction, {unit}", parse_math=False)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    add_legend(canvas)
    return to_bytes(canvas, format)


_ACCURACY = ("accuracy", 100, "accuracy, % of patches")


def training_figure(metrics: Sequence[Mapping[str, object]], format: Format = "svg") -> bytes:
    """Loss and accuracy (or mean error) by epoch.

    Args:
        metrics: rows with `epoch` and any of `loss`, `accuracy`, `validation_accuracy`, or `error`,
            `validation_error` where answers are numbers; what is missing or not finite in a row is
            left out.
        format: "svg" or "png".

    Raises:
        UsageError: if no row has an epoch and a loss, accuracy or error.
    """
    canvas, (left, right) = new_canvas(WIDTH, 2.8, columns=2)
    drawn = _line(left, metrics, "loss", BLUE, "training loss")
    numbers = any("error" in row or "validation_error" in row for row in metrics)
    key, times, label = ("error", 1, "mean error") if numbers else _ACCURACY
    drawn |= _line(right, metrics, key, MUTED, "training", times=times)
    drawn |= _line(
        right, metrics, f"validation_{key}", BLUE, "validation part", times=times, marker="o"
    )
    if not drawn:
        raise UsageError("The training's metrics hold no loss, accuracy or error to draw.")
    for axes in (left, right):
        axes.locator_params(axis="x", integer=True)
    left.set(xlabel="epoch", ylabel="loss")
    left.set_ylim(bottom=0)
    right.set(xlabel="epoch", ylabel=label)
    if right.get_legend_handles_labels()[0]:
        # Errors fall from the upper left, accuracies rise from the lower left.
        loc: Literal["upper right", "lower right"] = "upper right" if numbers else "lower right"
        right.legend(frameon=False, fontsize=8, labelcolor=INK, loc=loc)
    return to_bytes(canvas, format)


def _line(
    axes: Axes,
    metrics: Sequence[Mapping[str, object]],
    key: str,
    colour: str,
    label: str,
    *,
    times: float = 1,
    marker: str = "",
) -> bool:
    points = [
        (float(x), times * float(y))
        for x, y in ((row.get("epoch"), row.get(key)) for row in metrics)
        if isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(x + y)
    ]
    if points:
        x, y = zip(*points, strict=True)
        marker = marker or ("o" if len(points) == 1 else "")
        axes.plot(x, y, color=colour, linewidth=1.6, marker=marker, markersize=3.5, label=label)
    return bool(points)


def differences_figure(comparison: Comparison | NumberComparison, format: Format = "svg") -> bytes:
    """The paired difference with its intervals, then by device; right of zero `a` is better."""
    intervals = comparison.difference.intervals
    most = sorted(comparison.by_device, key=lambda d: -abs(d.difference))[:MOST_DEVICES]
    devices = sorted(most, key=lambda d: (-d.difference, d.name))
    canvas, (axes,) = new_canvas(WIDTH, 1.3 + 0.25 * (len(intervals) + len(devices)))
    times, unit = 100, "points"
    if isinstance(comparison, NumberComparison):
        times, unit = 1, shown(comparison.unit, 24)
    value = times * comparison.difference.value
    axes.axvline(0, color=INK, linewidth=1)
    for place, interval in enumerate(intervals):
        axes.hlines(place, times * interval.low, times * interval.high, color=BLUE, linewidth=3)
        axes.plot(value, place, "o", color=BLUE, markersize=6)
    places = [len(intervals) + 0.5 + i for i in range(len(devices))]
    axes.plot([times * d.difference for d in devices], places, "D", color=ORANGE, markersize=4.5)
    names = [f"all patches, over {interval.by}s" for interval in intervals]
    names += [shown(device.name, 40) for device in devices]
    name_ticks(axes, "y", names, places=[*range(len(intervals)), *places])
    axes.set_ylim((places or [len(intervals)])[-1] + 0.6, -0.6)
    axes.grid(visible=False, axis="y")
    _centred(axes)
    axes.set_xlabel(
        f"\u2190 {shown(comparison.b, 24)} better \u00b7 {unit} \u00b7 "
        f"{shown(comparison.a, 24)} better \u2192",
        parse_math=False,
    )
    return to_bytes(canvas, format)


def _centred(axes: Axes) -> None:
    furthest = max(map(abs, axes.get_xlim()))
    axes.set_xlim(-furthest, furthest)


def new_canvas(
    width: float, height: float, *, rows: int = 1, columns: int = 1
) -> tuple[Canvas, tuple[Axes, ...]]:
    """An empty figure of that many inches in the house's look, and its panels row by row."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), layout="constrained")
    panes = tuple(canvas.add_subplot(rows, columns, n + 1) for n in range(rows * columns))
    for axes in panes:
        axes.set_facecolor("none")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(MUTED)
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8.5, length=0)
        axes.grid(visible=True, color=GRID, linewidth=0.7)
        axes.xaxis.label.set(color=MUTED, size=9)
        axes.yaxis.label.set(color=MUTED, size=9)
    return canvas, panes


def name_ticks(
    axes: Axes,
    which: Literal["x", "y"],
    names: Sequence[str],
    *,
    places: Sequence[float] | None = None,
    **style: Any,
) -> None:
    """Names along an axis, drawn as they are."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(range(len(names)) if places is None else places, names, **style)
    for label in axis.get_ticklabels():
        label.set_parse_math(False)


def add_legend(canvas: Canvas, axes: Axes | None = None) -> None:
    """One legend above all panels, of what is drawn in `axes` or in all of them."""
    entries = axes.get_legend_handles_labels() if axes else ()
    canvas.legend(
        *entries, loc="outside upper left", ncols=3, frameon=False, fontsize=8.5, labelcolor=INK,
        handletextpad=0.5, columnspacing=1.6,
    )  # fmt: skip


def to_bytes(canvas: Canvas, format: Format) -> bytes:
    """The figure as a file."""
    import matplotlib

    buffer = io.BytesIO()
    # Text stays text, to be searched and read aloud; the same result gives the same bytes.
    settings = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "phototrace"})
    with settings, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        if format == "png":
            canvas.savefig(buffer, format="png", dpi=150, facecolor="white")
        else:
            unsaid = {"Date": None, "Creator": None, "Format": None, "Type": None}
            canvas.savefig(buffer, format="svg", facecolor="none", metadata=unsaid)
    return buffer.getvalue()
