"""Building a PatchStore from a plan: all cores, one shard at a time, resumable.

The unit of work is a shard: the photos of one stretch of the plan are decoded once each, cut,
edited, and written whole. A build that was interrupted goes on with the shards it lacks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO, RawIOBase
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from phototrace.errors import PhotoError, UsageError
from phototrace.files import (
    sha256_of,
    sync_data,
    write_contents,
    write_json,
    written_whole,
)
from phototrace.patches.chains import cut_version
from phototrace.patches.plan import PatchPlan, PatchSettings, photo_rng
from phototrace.patches.store import FACTS, INDEX, STORE_VERSION, PatchStore, find_store, shard_name
from phototrace.photos.dealing import PARTS
from phototrace.photos.manifest import PhotoRecord, is_kept_damaged, size_problem
from phototrace.photos.photo import read_pixels
from phototrace.progress import parallel_map

SHARD_BYTES = 64 * 2**20

Shard = tuple[int, int, PatchPlan]
"""Number, first row in the whole plan, and the plan of these rows alone."""


def build_store(plan: PatchPlan, folder: Path) -> PatchStore:
    """Build the store of `plan` in `folder`, or open it where it is already there.

    A photo that cannot be read gives no patches; it is listed in `store.json` under `skipped`.
    Raises `UsageError` where `folder` holds another plan's store.
    """
    folder = folder.absolute()  # worker processes may stand in another folder
    if done := find_store(folder, plan.hash):
        return done
    _claim(folder, plan)
    records = list(parallel_map(partial(_build_shard, folder), shards(plan), "Cutting patches"))
    _finish(plan, folder, records)
    return PatchStore.load(folder)


def cut_patches(
    pixels: NDArray[np.uint8], rows: Sequence[int], plan: PatchPlan
) -> NDArray[np.uint8]:
    """The patches of the given plan rows, all of one photo: `(n, size, size[, 3])` uint8."""
    settings = plan.settings
    size = settings.size
    patches = np.empty((len(rows), size, size, *pixels.shape[2:]), dtype=np.uint8)
    for k, i in enumerate(rows):
        position = (int(plan.row[i]), int(plan.column[i]))
        if settings.edits is None:
            row, column = position
            patches[k] = pixels[row : row + size, column : column + size]
            continue
        label, way = float(plan.label[i]), int(plan.editing[i])
        record = plan.manifest.photos[plan.photo[i]]
        rng = photo_rng(record, settings.seed, *position, way, int(label))
        patches[k] = cut_version(
            settings.edits, pixels, position, size, settings.classes, label, settings.ways[way], rng
        )
    return patches


def photo_pixels(plan: PatchPlan, photo: int) -> NDArray[np.uint8]:
    """The pixels of one of the plan's photos, recompressed where the settings say so."""
    record = plan.manifest.photos[photo]
    return stored_pixels(plan.manifest.path_of(record), record, plan.settings)


def stored_pixels(path: Path, record: PhotoRecord, settings: PatchSettings) -> NDArray[np.uint8]:
    """The pixels of the photo at `path`, recompressed where the settings say so.

    Raises `PhotoError` where it cannot be read, or is not what the manifest's record says.
    """
    channels = settings.channels if settings.recompress is None else "rgb"
    pixels = read_pixels(
        path, channels=channels, sha256=record.sha256, keep_damaged=is_kept_damaged(record)
    )
    if problem := size_problem(path, (pixels.shape[1], pixels.shape[0]), record):
        raise PhotoError(problem.text)
    if settings.recompress is None:
        return pixels
    pixels = recompressed(pixels, settings.recompress)
    return np.ascontiguousarray(pixels[..., 1]) if settings.channels == "green" else pixels


def recompressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """RGB pixels `(h, w, 3)` saved once more with the standard tables and 4:2:0, and read again.

    With every photo saved by one table, what a network learns is no longer that table. Traces of
    the first compression remain.
    """
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


def _claim(folder: Path, plan: PatchPlan) -> None:
    """Make `folder` this plan's, or raise `UsageError` where it is another's."""
    claim = folder / "plan.json"
    if claim.is_file():
        try:
            claimed = json.loads(claim.read_text(encoding="utf-8")).get("plan")
        except (ValueError, AttributeError):
            claimed = None
        if claimed != plan.hash:
            raise UsageError(
                f"{folder} holds patches of another plan. Choose another folder, or remove it."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and no patch store. Choose another folder.")
    write_json(claim, {"plan": plan.hash})


def shards(plan: PatchPlan) -> list[Shard]:
    """Stretches of whole photos, each of about `SHARD_BYTES`."""
    depth = 3 if plan.settings.channels == "rgb" else 1
    most = max(1, SHARD_BYTES // (plan.settings.size**2 * depth))
    starts = np.flatnonzero(np.diff(plan.photo, prepend=-1))
    bounds = [0]
    for start, end in zip(starts, [*starts[1:], len(plan)], strict=True):
        if end - bounds[-1] > most and start > bounds[-1]:
            bounds.append(int(start))
    bounds.append(len(plan))
    return [
        (number, first, plan.stretch(first, last))
        for number, (first, last) in enumerate(pairwise(bounds))
        if last > first
    ]


def _build_shard(folder: Path, shard: Shard) -> dict[str, object]:
    """Write one shard, unless it is there; return its record: kept rows, skipped photos, hash."""
    number, first, plan = shard
    path, note = folder / shard_name(number), folder / f"patches-{number:05d}.json"
    if note.is_file() and path.is_file():
        record = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(record, dict) and sha256_of(path) == record.get("sha256"):
            return record
    kept: list[int] = []
    skipped: list[dict[str, str]] = []
    header = _npy_header(len(plan), plan)
    digest = hashlib.sha256(header)
    with (
        written_whole(path) as temporary,
        temporary.open("wb", buffering=0) as file,
        ThreadPoolExecutor(1) as flusher,
    ):
        _write_all(file, memoryview(header))
        flushed: Future[None] = flusher.submit(sync_data, file.fileno())
        for photo, about in enumerate(plan.manifest.photos):
            rows = np.flatnonzero(plan.photo == photo)
            try:
                patches = cut_patches(photo_pixels(plan, photo), rows.tolist(), plan)
            except PhotoError as error:
                skipped.append({"id": about.id, "path": about.path, "reason": str(error)})
                continue
            # Hashed on its way to the file: reading 64 MiB back would cost as much as cutting a
            # dozen photos' patches.
            data = patches.reshape(-1).data
            digest.update(data)
            _write_all(file, data)
            kept.extend((first + rows).tolist())
            # The disk works while the next photo is cut: at the end little is left to wait for.
            if flushed.done():
                flushed = flusher.submit(sync_data, file.fileno())
        flushed.result()
        if skipped:  # the header announced more patches than there are
            file.seek(0)
            _write_all(file, memoryview(_npy_header(len(kept), plan)))
    sha256 = sha256_of(path) if skipped else digest.hexdigest()
    record = {"rows": kept, "skipped": skipped, "sha256": sha256}
    write_json(note, record)
    return record


def _npy_header(count: int, plan: PatchPlan) -> bytes:
    """The head of an .npy file of `count` patches; numpy leaves room for any count in it."""
    depth = (3,) if plan.settings.channels == "rgb" else ()
    shape = (count, plan.settings.size, plan.settings.size, *depth)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def _write_all(file: RawIOBase, data: memoryview) -> None:
    while data:
        data = data[file.write(data) or 0 :]


def _finish(plan: PatchPlan, folder: Path, records: Sequence[Mapping[str, object]]) -> None:
    """Write index and facts, declare the store complete, and drop the notes of the build."""
    rows = np.array([row for record in records for row in _list(record["rows"])], dtype=np.int64)
    places = [(k, o) for k, record in enumerate(records) for o in range(len(_list(record["rows"])))]
    skipped = [entry for record in records for entry in _list(record["skipped"])]
    shard, offset = np.array(places, dtype=np.int32).reshape(-1, 2).T
    if not len(rows):
        raise UsageError(f"None of the photos could be read; {folder} lists why in its notes.")
    with written_whole(folder / INDEX) as temporary:
        pyarrow.parquet.write_table(_index(plan, rows, shard, offset), temporary)
    write_json(folder / FACTS, {
        "version": STORE_VERSION,
        "plan": plan.hash,
        "settings": plan.settings.to_dict(),
        "patches": len(rows),
        "count": {name: plan.count(name, rows).tolist() for name in PARTS},
        "skipped": skipped,
        "too_small": [{"id": r.id, "path": r.path} for r in plan.too_small],
    })  # fmt: skip
    hashes = {shard_name(number): str(record["sha256"]) for number, record in enumerate(records)}
    write_contents(folder, [*hashes, INDEX, FACTS, "plan.json"], hashes)
    for number in range(len(records)):
        (folder / f"patches-{number:05d}.json").unlink(missing_ok=True)


def _index(
    plan: PatchPlan, rows: NDArray[np.int64], shard: NDArray[np.int32], offset: NDArray[np.int32]
) -> pyarrow.Table:
    photos = plan.manifest.photos
    photo = plan.photo[rows]

    def text(values: Sequence[str], codes: NDArray[np.integer]) -> pyarrow.DictionaryArray:
        return pyarrow.DictionaryArray.from_arrays(
            pyarrow.array(codes, pyarrow.int32()), pyarrow.array(list(values), pyarrow.string())
        )

    return pyarrow.table({
        "photo": text([r.id for r in photos], photo),
        "camera": text([r.camera for r in photos], photo),
        "device": text([r.device_id for r in photos], photo),
        "scene": text([r.scene for r in photos], photo),
        "part": text(PARTS, plan.part[rows]),
        "editing": text(plan.settings.ways, plan.editing[rows]),
        "row": plan.row[rows],
        "column": plan.column[rows],
        "grid_row": (plan.row[rows] % 8).astype(np.int8),
        "grid_column": (plan.column[rows] % 8).astype(np.int8),
        "label": plan.label[rows],
        "shard": shard,
        "offset": offset,
    })  # fmt: skip


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
