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
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import Manifest, PhotoRecord
from phototrace.photos.photo import Channels
from phototrace.photos.splits import Split

PLAN_VERSION = 2  # goes up when the same settings come to give other patches
MANIPULATION = "manipulation"
"""The label of a task whose class is the operation applied; any other label is a photo's field."""


@dataclass(frozen=True)
class PatchSettings:
    """How a task's patches are cut and labelled.

    Attributes:
        classes: Ordered class names.
        label: `"manipulation"`, or the manifest field that holds the class (`"camera"`).
        size: Side of a patch in pixels, a multiple of 32 from 64 up.
        channels: `"green"` or `"rgb"`.
        blocks: `"central"` (nine central blocks) or `"random"` (non-overlapping, random).
        blocks_per_photo: For random blocks, how many to take at most; 0 takes all that fit.
        per_class: Patches a class gets in each part; parts left out get all that balance allows.
        photos: The most photos of each part, drawn by the seed; parts left out take all.
        editing: For manipulations, the ways of editing: `"block"`, `"region"`, or both.
        balanced: Whether every class gets as many patches as the one with the fewest.
        recompress: JPEG quality at which every photo is saved anew before it is cut, or None.
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
    editing: tuple[str, ...] = ()
    balanced: bool = True
    recompress: int | None = None
    seed: int = 0

    def to_dict(self) -> dict[str, object]:
        """The settings as plain JSON values."""
        return {
            **vars(self),
            "classes": list(self.classes),
            "per_class": dict(self.per_class),
            "photos": dict(self.photos),
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
        label: Index into `settings.classes`, int16.
        editing: Index into `settings.editing`, int8; 0 where nothing is edited.
        part: Index into PARTS, int8.
        too_small: Photos that hold no block, with the reason.
    """

    settings: PatchSettings
    manifest: Manifest
    photo: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    label: NDArray[np.int16]
    editing: NDArray[np.int8]
    part: NDArray[np.int8]
    too_small: tuple[PhotoRecord, ...]

    def __len__(self) -> int:
        return len(self.photo)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the settings, the photos' hashes and every row."""
        columns = (self.photo, self.row, self.column, self.label, self.editing, self.part)
        return hash_of({
            "version": PLAN_VERSION,
            "settings": self.settings.to_dict(),
            "photos": [record.sha256 for record in self.manifest.photos],
            "rows": hash_of([column.tolist() for column in columns]),
        })  # fmt: skip

    def stretch(self, first: int, last: int) -> PatchPlan:
        """The rows `first` to `last` (exclusive) as a plan with no photos but theirs."""
        photos = self.photo[first:last]
        start = int(photos[0])
        return PatchPlan(
            settings=self.settings,
            manifest=Manifest(self.manifest.photos[start : photos[-1] + 1], self.manifest.root),
            photo=(photos - start).astype(np.int32),
            row=self.row[first:last],
            column=self.column[first:last],
            label=self.label[first:last],
            editing=self.editing[first:last],
            part=self.part[first:last],
            too_small=(),
        )

    def count(self, part: str) -> NDArray[np.int64]:
        """Patches of each class in a part."""
        labels = self.label[self.part == PARTS.index(part)]
        return np.bincount(labels, minlength=len(self.settings.classes))

    def total(self, part: str) -> int:
        """Patches in a part, all classes together."""
        return int(np.count_nonzero(self.part == PARTS.index(part)))


Block = tuple[int, int, int, int, int, int]
"""Photo index, row, column, label, editing, part."""


def plan_patches(
    manifest: Manifest, split: Split, settings: PatchSettings, *, parts: Sequence[str] = PARTS
) -> PatchPlan:
    """Choose the patches of a task, every class equally often in each part where `balanced`.

    Photos outside the split or of a class that is not asked for give none. Raises `UsageError`
    where a class would have no patch in one of `parts`.
    """
    cutting.check_patch_size(settings.size)
    photos = sorted(
        (r for r in manifest.photos if split.part.get(r.id) in parts), key=lambda r: r.sha256
    )
    if settings.label != MANIPULATION:
        photos = [r for r in photos if label_of(r, settings.label) in settings.classes]
    unsized = sum(not (r.width and r.height) for r in photos)
    if unsized:
        raise UsageError(
            f"The manifest says no width and height of {unsized} photos. "
            "`phototrace index MANIFEST -o FILE` adds them."
        )
    chosen: list[Block] = []
    too_small: list[PhotoRecord] = []
    for part in parts:
        indices = _drawn(
            photos, [i for i, r in enumerate(photos) if split.part[r.id] == part], part, settings
        )
        blocks, small = _blocks_of_part(photos, indices, part, settings)
        chosen.extend(blocks)
        too_small.extend(photos[i] for i in small)
    return _as_plan(manifest, photos, sorted(chosen), settings, tuple(too_small))


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


def _blocks_of_part(
    photos: Sequence[PhotoRecord], indices: Sequence[int], part: str, settings: PatchSettings
) -> tuple[list[Block], list[int]]:
    positions = {i: _positions(photos[i], settings) for i in indices}
    small = [i for i in indices if not positions[i]]
    wanted = settings.per_class.get(part)
    if settings.label == MANIPULATION:
        ways = max(1, len(settings.editing))
        total = sum(map(len, positions.values()))
        _require(total, part, "any class", len(small), settings.size)
        wanted = min(wanted or total * ways, total * ways)
        taken = _take_evenly(positions, -(-wanted // ways))
        blocks = _edited_blocks(photos, taken, part, settings)
        return blocks[: wanted * len(settings.classes)], small
    by_class = {
        name: {i: p for i, p in positions.items() if label_of(photos[i], settings.label) == name}
        for name in settings.classes
    }
    available = {name: sum(map(len, of_class.values())) for name, of_class in by_class.items()}
    if settings.balanced:
        for name, count in available.items():
            if not by_class[name]:
                raise UsageError(
                    f"The {part} part has no photo of {name}. Add photos of it, leave the class "
                    "out, or split otherwise."
                )
            _require(count, part, name, len(small), settings.size)
    fewest = min(available.values())
    number = PARTS.index(part)
    blocks = []
    for label, (name, of_class) in enumerate(by_class.items()):
        most = fewest if settings.balanced else available[name]
        taken = _take_evenly(of_class, min(wanted or most, most))
        blocks.extend((i, row, column, label, 0, number) for i, row, column in taken)
    return blocks, small


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


def photo_rng(record: PhotoRecord, seed: int) -> np.random.Generator:
    """The random stream of one photo: the same whatever other photos there are."""
    return np.random.default_rng([seed, int(record.sha256[:15], 16)])


def _take_evenly(
    positions: Mapping[int, Sequence[cutting.Position]], count: int
) -> list[tuple[int, int, int]]:
    """`count` blocks, as equally many from each photo as there are."""
    longest = max(map(len, positions.values()), default=0)
    rounds = ((i, p[k]) for k in range(longest) for i, p in positions.items() if k < len(p))
    return [(i, *position) for (i, position), _ in zip(rounds, range(count), strict=False)]


def _edited_blocks(
    photos: Sequence[PhotoRecord],
    taken: Sequence[tuple[int, int, int]],
    part: str,
    settings: PatchSettings,
) -> list[Block]:
    """Every block in every version, once for each way of editing."""
    number = PARTS.index(part)
    blocks: list[Block] = []
    for i, row, column in taken:
        for way, name in enumerate(settings.editing or ("",)):
            position = (row, column)
            if name == "region":
                position = _off_grid(photos[i], position, settings)
            blocks.extend((i, *position, k, way, number) for k in range(len(settings.classes)))
    return blocks


def _off_grid(
    record: PhotoRecord, position: cutting.Position, settings: PatchSettings
) -> cutting.Position:
    """Move a block by up to half a JPEG cell each way, so that it meets any offset to the grid.

    All versions of a block move alike: else the offset would tell the unaltered ones.
    """
    rng = np.random.default_rng([settings.seed, int(record.sha256[:15], 16), *position])
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
) -> PatchPlan:
    table = np.array(blocks, dtype=np.int64).reshape(-1, 6)
    used, photo = np.unique(table[:, 0], return_inverse=True)
    return PatchPlan(
        settings=settings,
        manifest=Manifest(photos=tuple(photos[i] for i in used), root=manifest.root),
        photo=photo.astype(np.int32),
        row=table[:, 1].astype(np.int32),
        column=table[:, 2].astype(np.int32),
        label=table[:, 3].astype(np.int16),
        editing=table[:, 4].astype(np.int8),
        part=table[:, 5].astype(np.int8),
        too_small=too_small,
    )
