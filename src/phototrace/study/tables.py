"""Fig. 3 and Tables 2 and 3 of the paper: which cell stands where, and all of it as CSV.

Accuracies are shares in [0, 1]; a cell that the paper does not give is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phototrace.study.paper import Key
from phototrace.study.results import Score

FIGURE_TARGETS = {"A": "manipulation detection", "B": "camera models"}
WAYS = {"single": "single task", "transfer": "transfer", "multitask": "multitask"}
"""The ways of Fig. 3, as people read them."""


@dataclass(frozen=True)
class Row:
    """One feature extractor, and the cell of each column; None where the paper has none."""

    name: str
    cells: tuple[Key | None, ...]


@dataclass(frozen=True)
class Table:
    """A table of the paper: what is tested, by which classifiers, on whose features."""

    title: str
    targets: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Such as "camera models (B), ERT"."""
        return tuple(f"{target}, {kind}" for target in self.targets for kind in ("CNN", "ERT"))


def figure_keys(target: str, way: str, depths: Sequence[str]) -> tuple[Key, ...]:
    """The cells of one line of Fig. 3, shallow to deep; one cell where nothing is shared."""
    if way == "single":
        return (Key(target, way, target),)
    other = "B" if target == "A" else "A"
    features = "A+B" if way == "multitask" else other
    return tuple(Key(target, way, features, depth) for depth in depths)


def table(scores: Mapping[Key, Score], number: int) -> Table:
    """The layout of the paper's Table 2 or 3 for these scores."""
    depth = _deepest(scores)
    return _table_2(depth) if number == 2 else _table_3(depth)


def _table_2(depth: str) -> Table:
    def row(name: str, features: str) -> Row:
        cells: list[Key | None] = []
        for target in FIGURE_TARGETS:
            way = "transfer"
            if features in (target, "A+B"):
                way = "single" if features == target else "multitask"
            cells.append(Key(target, way, features, "" if way == "single" else depth))
            cells.append(Key(target, "trees", features))
        return Row(name, tuple(cells))

    return Table(
        f"The network's own output (CNN) and trees on its {depth} features (ERT)",
        tuple(f"{name} ({target})" for target, name in FIGURE_TARGETS.items()),
        (
            row("Manipulation (A)", "A"),
            row("Camera model (B)", "B"),
            row(f"Hybrid (A + B, {depth})", "A+B"),
        ),
    )


def _table_3(depth: str) -> Table:
    def row(name: str, features: str, network: Key | None = None, trees: bool = True) -> Row:
        return Row(name, (network, Key("C", "trees", features) if trees else None))

    return Table(
        "Camera models with few photos (C), on the features of five networks",
        ("few-photo camera models (C)",),
        (
            row("Manipulation (A)", "A"),
            row("Camera model (B)", "B"),
            row("Few-photo camera model (C)", "C", Key("C", "single", "C")),
            row("C alone, with the hybrid's steps", "C", Key("C", "longer", "C"), trees=False),
            row(f"Hybrid (A + B, {depth})", "A+B"),
            row(f"Hybrid (A + B + C, {depth})", "A+B+C", Key("C", "multitask", "A+B+C", depth)),
        ),
    )


def _deepest(scores: Mapping[Key, Score]) -> str:
    """A+B+C is trained at one share depth, the deepest."""
    hybrids = (k.depth for k in scores if k.way == "multitask" and k.features == "A+B+C")
    return next(hybrids, "fc2")


def table_csv(scores: Mapping[Key, Score], number: int) -> str:
    """Table 2 or 3 in the paper's layout: each cell with its interval and the paper's figure."""
    laid = table(scores, number)
    parts = ("accuracy", "low", "high", "paper")
    head = ["features", *(f"{column}, {part}" for column in laid.columns for part in parts)]
    rows = []
    for row in laid.rows:
        cells: list[str] = []
        for key in row.cells:
            score = scores.get(key) if key else None
            cells += _cell(score) if score else [""] * len(parts)
        rows.append([row.name, *cells])
    return _csv([head, *rows])


def _cell(score: Score) -> list[str]:
    figure = score.accuracy
    return [_share(figure.value), _share(figure.low), _share(figure.high), _share(score.paper)]


def figure_csv(scores: Mapping[Key, Score], facts: Mapping[str, Any]) -> str:
    """Fig. 3 as a table: one row a point, with what it was tested on and what it took."""
    head = [
        "target", "way", "features", "depth", "accuracy", "low", "high", "interval over",
        "test patches", "test photos", "test devices", "test scenes", "paper",
        "retrained parameters", "training patches", "steps", "seconds",
        *(f"accuracy, seed {seed}" for seed in facts["seeds"]),
    ]  # fmt: skip
    rows = []
    for target in FIGURE_TARGETS:
        for way in WAYS:
            keys = figure_keys(target, way, facts["depths"])
            rows += [_point(scores[key]) for key in keys if key in scores]
    return _csv([head, *rows])


def _point(score: Score) -> list[str]:
    key, figure = score.key, score.accuracy
    return [
        key.target, key.way, key.features, key.depth,
        _share(figure.value), _share(figure.low), _share(figure.high), f"{figure.interval.by}s",
        *map(str, (figure.patches, figure.photos, figure.devices, figure.scenes)),
        _share(score.paper),
        *map(str, (score.retrained, score.patches, score.steps)), f"{score.seconds:.1f}",
        *map(_share, score.by_seed),
    ]  # fmt: skip


def _share(value: float | None) -> str:
    return "" if value is None else str(round(value, 6))


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
