"""Which patches a task takes from which photos: decided as a whole before any photo is opened.

A plan is a pure function of manifest, split and settings. Its rows are grouped by photo, so that
every photo is decoded once, and each row knows its position, label, way of editing and part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import UsageError
from phototrace.files import hash_of
from phototrace.patches import cutting
from phototrace.patches.manipulations import Edits
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord, is_kept_damaged
from phototrace.photos.photo import Channels
from phototrace.photos.splits import Split

PLAN_VERSION = 2  # goes up when the same settings come to give other patches


@dataclass(frozen=True)
class PatchSettings:
    """How a task's patches are cut and labelled.

    Attributes:
        classes: Ordered class names; none where the label is a number.
        label: The manifest column that holds the class (`"camera"`), or what the edits are called.
        size: Side of a patch in pixels, a multiple of 32 from 64 up.
        channels: `"green"` or `"rgb"`.
        blocks: `"central"` (nine central blocks) or `"random"` (non-overlapping, random).
        blocks_per_photo: For random blocks, how many to take at most; 0 takes all that fit.
        per_class: The most patches of a class in each part (of a version of a block, where the
            label is a number); parts not named take all.
        photos: The most photos of each part, drawn by the seed; parts not named take all.
        edits: What is done to blocks and gives them their labels; None where photos do.
        editing: With edits, the ways of editing: `"block"`, `"region"`, or both.
        balanced: Whether every class is cut to the number of patches of the smallest class.
        recompress: JPEG quality at which every photo is recompressed first, or None.
        seed: Seed of every random choice, noise included.
    """

    classes: tuple[str, ...]
    label: str
    size: int
    channels: Channels = "green"
    blocks: str = "central"
    blocks_per_photo: int = 0
    per_class: Mapping[str, int] = field(default_factory=dict)
    photos: Mapping[str, int] = field(default_factory=dict)
    edits: Edits | None = None
    editing: tuple[str, ...] = ()
    balanced: bool = False
    recompress: int | None = None
    seed: int = 0

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways of editing that `PatchPlan.editing` counts; one without a name where none is."""
        return (self.editing or ("block",)) if self.edits else ("",)

    def to_dict(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return {
            **vars(self),
            "classes": list(self.classes),
            "per_class": dict(self.per_class),
            "photos": dict(self.photos),
            "edits": None if self.edits is None else self.edits.facts(),
            "editing": list(self.editing),
        }


@dataclass(frozen=True)
class PatchPlan:
    """All patches of one task: the photos, and one row a patch (arrays of equal length).

    Attributes:
        settings: What the plan was made by.
        manifest: The photos that give at least one patch, in the order of the rows.
        photo: Index into `manifest.photos`, int32, ascending.
        row, column: Position of the block in its photo, int32.
        label: Index into `settings.classes`, int16; a number, float32, where there are none.
        editing: Index into `settings.ways`, int8.
        part: Index into PARTS, int8.
        too_small: Photos that hold no block.
        cut: Part -> class -> patches left out so that all classes have equally many.
    """

    settings: PatchSettings
    manifest: Manifest
    photo: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    label: NDArray[np.int16] | NDArray[np.float32]
    editing: NDArray[np.int8]
    part: NDArray[np.int8]
    too_small: tuple[PhotoRecord, ...] = ()
    cut: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.photo)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the settings, the photos' hashes and every row."""
        kept = [record.sha256 for record in self.manifest.photos if is_kept_damaged(record)]
        columns = (self.photo, self.row, self.column, self.label, self.editing, self.part)
        return hash_of({
            "version": PLAN_VERSION,
            "settings": self.settings.to_dict(),
            "photos": [record.sha256 for record in self.manifest.photos],
            "rows": hash_of([column.tolist() for column in columns]),
            **({"kept_damaged": kept} if kept else {}),
        })  # fmt: skip

    def stretch(self, first: int, last: int) -> PatchPlan:
        """The rows `first` to `last` (exclusive) as a plan with no photos but theirs."""
        return self._of_rows(np.arange(first, last))

    def only(self, part: str) -> PatchPlan:
        """The rows of a part as a plan with no photos but theirs."""
        return self._of_rows(np.flatnonzero(self.part == PARTS.index(part)))

    def _of_rows(self, rows: NDArray[np.int64]) -> PatchPlan:
        used, photo = np.unique(self.photo[rows], return_inverse=True)
        photos = tuple(self.manifest.photos[i] for i in used)
        return PatchPlan(
            settings=self.settings,
            manifest=Manifest(photos, self.manifest.root),
            photo=photo.astype(np.int32),
            row=self.row[rows],
            column=self.column[rows],
            label=self.label[rows],
            editing=self.editing[rows],
            part=self.part[rows],
        )

    def count(self, part: str, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Patches of each class in a part (of all together, without classes), among `rows`."""
        chosen = self.part == PARTS.index(part)
        labels = self.label[chosen] if rows is None else self.label[rows][chosen[rows]]
        classes = len(self.settings.classes)
        indices = labels.astype(np.int64) if classes else np.zeros(len(labels), dtype=np.int64)
        return np.bincount(indices, minlength=max(1, classes))

    def total(self, part: str) -> int:
        """Patches in a part, all classes together."""
        return int(np.count_nonzero(self.part == PARTS.index(part)))


Block = tuple[int, int, int, float, int, int]
"""Photo index, row, column, label, editing, part."""


def plan_patches(
    manifest: Manifest, split: Split, settings: PatchSettings, *, parts: Sequence[str] = PARTS
) -> PatchPlan:
    """Choose the patches of a task: all, or equally many of every class (`balanced`).

    Photos outside the split or of a class that is not asked for give none. Raises `UsageError`
    where a class would have no patch to train on, or, where classes are balanced, in another part.
    """
    cutting.check_patch_size(settings.size)
    photos = sorted(
        (r for r in manifest.photos if split.part.get(r.id) in parts), key=lambda r: r.sha256
    )
    if settings.edits is None:
        photos = [r for r in photos if label_of(r, settings.label) in settings.classes]
    unsized = sum(not (r.width and r.height) for r in photos)
    if unsized:
        raise UsageError(
            f"The manifest says no width and height of {unsized} photos. "
            "`phototrace index MANIFEST -o FILE` adds them."
        )
    chosen: list[Block] = []
    too_small: list[PhotoRecord] = []
    cut: dict[str, dict[str, int]] = {}
    for part in parts:
        indices = _drawn(
            photos, [i for i, r in enumerate(photos) if split.part[r.id] == part], part, settings
        )
        positions = {i: _positions(photos[i], settings) for i in indices}
        small = [i for i in indices if not positions[i]]
        too_small.extend(photos[i] for i in small)
        if settings.edits is None:
            blocks, cut[part] = _photos_blocks(photos, positions, part, len(small), settings)
        else:
            blocks = _edited_blocks(photos, positions, part, len(small), settings, settings.edits)
        chosen.extend(blocks)
    return _as_plan(manifest, photos, sorted(chosen), settings, tuple(too_small), cut)


def _drawn(
    photos: Sequence[PhotoRecord], indices: Sequence[int], part: str, settings: PatchSettings
) -> Sequence[int]:
    """The photos of a part, or as many of them as the settings take, drawn by hash."""
    most = settings.photos.get(part)
    if most is None or len(indices) <= most:
        return indices
    by_hash = sorted(indices, key=lambda i: hash_of([settings.seed, photos[i].sha256]))
    return sorted(by_hash[:most])


def label_of(record: PhotoRecord, label: str) -> str:
    """The class of a photo: one of its own fields, or one of the manifest's further columns."""
    if label in record.extra:
        return record.extra[label]
    value = getattr(record, label, None)
    if not isinstance(value, str):
        raise UsageError(f"Photos have no column {label!r}. Use 'camera' or a manifest column.")
    return value


Positions = Mapping[int, Sequence[cutting.Position]]
"""Photo index -> where its blocks lie."""


def _photos_blocks(
    photos: Sequence[PhotoRecord],
    positions: Positions,
    part: str,
    small: int,
    settings: PatchSettings,
) -> tuple[list[Block], dict[str, int]]:
    """The blocks of a part, labelled by their photos, and how many of each class were cut off."""
    by_class = {
        name: {i: p for i, p in positions.items() if label_of(photos[i], settings.label) == name}
        for name in settings.classes
    }
    available = {name: sum(map(len, of_class.values())) for name, of_class in by_class.items()}
    for name, count in available.items():
        if not (settings.balanced or part == "train"):
            continue
        if not by_class[name]:
            raise UsageError(
                f"The {part} part has no photo of {name}. Add photos of it, leave the class "
                "out, or split in another way."
            )
        _require(count, part, name, small, settings.size)
    wanted = settings.per_class.get(part)
    fewest = min(available.values())
    blocks: list[Block] = []
    cut = {}
    for label, (name, of_class) in enumerate(by_class.items()):
        most = available[name] if wanted is None else min(wanted, available[name])
        if settings.balanced and fewest < most:
            most, cut[name] = fewest, most - fewest
        taken = _take_evenly(of_class, most)
        blocks.extend((*block, label, 0, PARTS.index(part)) for block in taken)
    return blocks, cut


def _edited_blocks(
    photos: Sequence[PhotoRecord],
    positions: Positions,
    part: str,
    small: int,
    settings: PatchSettings,
    edits: Edits,
) -> list[Block]:
    """Every block in every version, once for each way of editing."""
    total = sum(map(len, positions.values()))
    if part == "train" or settings.balanced:
        _require(total, part, "any class", small, settings.size)
    ways = settings.ways
    wanted = min(settings.per_class.get(part, total * len(ways)), total * len(ways))
    blocks: list[Block] = []
    versions = 0
    for i, *position in _take_evenly(positions, -(-wanted // len(ways))):
        for way, name in enumerate(ways):
            row, column = position
            if name == "region":
                row, column = _off_grid(photos[i], (row, column), settings)
            rng = photo_rng(photos[i], settings.seed, row, column, way)
            labels = edits.labels(settings.classes, rng)
            versions = len(labels)
            blocks.extend((i, row, column, k, way, PARTS.index(part)) for k in labels)
    return blocks[: wanted * versions]


def _require(available: int, part: str, name: str, small: int, size: int) -> None:
    if not available:
        raise UsageError(
            f"The {part} part has no patch of {name}: {small} of its photos are too small for "
            f"blocks of {size} px. Choose a smaller patch size, or other photos or another split."
        )


def _positions(record: PhotoRecord, settings: PatchSettings) -> list[cutting.Position]:
    height, width, size = record.height, record.width, settings.size
    if settings.blocks == "central":
        return cutting.central_blocks(height, width, size)
    most = settings.blocks_per_photo or cutting.block_count(height, width, size)
    return cutting.random_blocks(height, width, size, most, photo_rng(record, settings.seed))


def photo_rng(record: PhotoRecord, seed: int, *numbers: int) -> np.random.Generator:
    """The random stream of one photo (or of `numbers` in it), whatever other photos there are."""
    return np.random.default_rng([seed, int(record.sha256[:15], 16), *numbers])


def _take_evenly(positions: Positions, count: int) -> list[tuple[int, int, int]]:
    """`count` blocks, as equally many from each photo as there are."""
    longest = max(map(len, positions.values()), default=0)
    rounds = ((i, p[k]) for k in range(longest) for i, p in positions.items() if k < len(p))
    return [(i, *position) for (i, position), _ in zip(rounds, range(count), strict=False)]


def _off_grid(
    record: PhotoRecord, position: cutting.Position, settings: PatchSettings
) -> cutting.Position:
    """Move a block by up to half a JPEG cell each way, so that it meets any offset to the grid.

    All versions of a block move alike: else the offset would tell the unaltered ones.
    """
    rng = photo_rng(record, settings.seed, *position)
    half = cutting.JPEG_GRID // 2
    row, column = (p + int(d) for p, d in zip(position, rng.integers(-half, half, 2), strict=True))
    return (
        min(max(row, 0), record.height - settings.size),
        min(max(column, 0), record.width - settings.size),
    )


def _as_plan(
    manifest: Manifest,
    photos: Sequence[PhotoRecord],
    blocks: Sequence[Block],
    settings: PatchSettings,
    too_small: tuple[PhotoRecord, ...],
    cut: Mapping[str, Mapping[str, int]],
) -> PatchPlan:
    table = np.array(blocks, dtype=np.float64).reshape(-1, 6)  # exact for every number in it
    labels = table[:, 3]
    used, photo = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    return PatchPlan(
        settings=settings,
        manifest=Manifest(photos=tuple(photos[i] for i in used), root=manifest.root),
        photo=photo.astype(np.int32),
        row=table[:, 1].astype(np.int32),
        column=table[:, 2].astype(np.int32),
        label=labels.astype(np.int16) if settings.classes else labels.astype(np.float32),
        editing=table[:, 4].astype(np.int8),
        part=table[:, 5].astype(np.int8),
        too_small=too_small,
        cut={part: of_part for part, of_part in cut.items() if of_part},
    )
