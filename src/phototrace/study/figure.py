"""The paper's Fig. 3 for a study: accuracy by share depth. Nothing is worked out here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phototrace.evidence.figures import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    WIDTH,
    Format,
    add_legend,
    name_ticks,
    new_canvas,
    to_bytes,
)
from phototrace.evidence.formatting import shown
from phototrace.study.paper import Key
from phototrace.study.results import Score
from phototrace.study.tables import FIGURE_TARGETS, WAYS, figure_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 6.2


@dataclass(frozen=True)
class _Line:
    """How a way is drawn: told apart by dashes and marks, not by colour alone."""

    way: str
    colour: str
    marker: str
    dashes: str
    side: int
    """Which side of its depth a point stands, so that intervals do not hide each other."""


_LINES = (_Line("transfer", BLUE, "o", "-", -1), _Line("multitask", ORANGE, "s", "--", 1))


def figure_3(
    scores: Mapping[Key, Score], facts: Mapping[str, Any], format: Format = "svg"
) -> bytes:
    """Accuracy by share depth with 95 % intervals, one panel a target, both on one scale.

    The paper's own figures stand beside as hollow marks, where its text gives them.
    """
    depths = tuple(facts["depths"])
    canvas, panels = new_canvas(WIDTH, HEIGHT, rows=2)
    canvas.set_layout_engine("constrained", h_pad=0.07)
    limits = _limits(scores, depths)
    for axes, (target, name) in zip(panels, FIGURE_TARGETS.items(), strict=True):
        _guessing(axes, 100 / len(facts["classes"][target]), limits[0])
        _single(axes, scores.get(Key(target, "single", target)), len(depths))
        for line in _LINES:
            _line(axes, line, scores, figure_keys(target, line.way, depths))
        axes.set(xlim=(-0.5, len(depths) - 0.5), ylim=limits, ylabel="accuracy, % of test patches")
        axes.set_yticks([tick for tick in axes.get_yticks() if limits[0] <= tick <= 100])
        axes.grid(visible=False, axis="x")
        name_ticks(axes, "x", [shown(depth, 16) for depth in depths])
        axes.set_title(f"{target}: {name}", loc="left", size=10, color=INK, weight="bold")
        if facts["recipe"].get("illustration"):
            axes.set_title("illustration, not evidence", loc="right", size=8.5, color=MUTED)
    panels[-1].set_xlabel("share depth, shallow to deep")
    _explain(panels[0])
    add_legend(canvas, panels[0])
    return to_bytes(canvas, format)


def _guessing(axes: Axes, percent: float, lowest: float) -> None:
    """The level of chance, where it is within what is shown."""
    if percent > lowest:
        axes.axhline(percent, color=MUTED, linewidth=1, linestyle=":")
        axes.annotate(
            "guessing", (1, percent), (-2, 2), ("axes fraction", "data"), "offset points",
            ha="right", va="bottom", size=8, color=MUTED,
        )  # fmt: skip


def _single(axes: Axes, score: Score | None, depths: int) -> None:
    """A network of its own shares nothing: one level for all depths."""
    if score is None:
        return
    figure = score.accuracy
    axes.axhspan(100 * figure.low, 100 * figure.high, color=MUTED, alpha=0.14, linewidth=0)
    axes.axhline(100 * figure.value, color=MUTED, linewidth=1.6, label=WAYS["single"])
    if score.paper is not None:
        _hollow(axes, 0.02 * depths - 0.5, score.paper, "D", MUTED)


def _line(axes: Axes, line: _Line, scores: Mapping[Key, Score], keys: Sequence[Key]) -> None:
    shift = 0.012 * len(keys) * line.side
    found = [(place, scores[key]) for place, key in enumerate(keys) if key in scores]
    for place, score in found:
        interval = score.accuracy.interval
        # Faint where too few photos make it of little use.
        alpha = 0.6 if interval.reliable else 0.3
        ends = 100 * interval.low, 100 * interval.high
        axes.vlines(place + shift, *ends, color=line.colour, linewidth=1.8, alpha=alpha)
        if score.paper is not None:
            _hollow(axes, place + 3 * shift, score.paper, line.marker, line.colour)
    axes.plot(
        [place + shift for place, _ in found],
        [100 * score.accuracy.value for _, score in found],
        color=line.colour, linewidth=1.6, linestyle=line.dashes, marker=line.marker,
        markersize=5, label=WAYS[line.way],
    )  # fmt: skip


def _hollow(axes: Axes, place: float, paper: float, marker: str, colour: str) -> None:
    """One of the paper's own figures."""
    axes.plot(place, 100 * paper, marker, markerfacecolor="none", color=colour, markersize=4.5)


def _explain(axes: Axes) -> None:
    """Entries of the legend that no line has."""
    axes.plot([], [], "|", color=INK, markersize=9, markeredgewidth=1.8, label="95 % interval")
    axes.plot(
        [], [], "o", markerfacecolor="none", color=INK, markersize=4.5,
        label="hollow: the paper's, on its own photos",
    )  # fmt: skip


def _limits(scores: Mapping[Key, Score], depths: Sequence[str]) -> tuple[float, float]:
    """One scale for both panels, in percent, that cuts no interval and none of the paper's."""
    ends = []
    for target in FIGURE_TARGETS:
        for way in WAYS:
            for key in figure_keys(target, way, depths):
                if key in scores:
                    score = scores[key]
                    ends += [score.accuracy.low, score.accuracy.high]
                    ends += [] if score.paper is None else [score.paper]
    low, high = 100 * min(ends, default=0.0), 100 * max(ends, default=1.0)
    room = max(0.04 * (high - low), 0.2)
    return low - room, high + room
