"""What is kept of training photos to know them again later: no names, no pictures.

Of each photo: perceptual hash and look (`perceptual`), when it was taken, and whose and what it is
(device, body, scene, burst) as hashes under a secret key. Without the key nobody can try serial
numbers against them; then photos are known again by their looks alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.errors import DamagedError
from phototrace.files import written_whole
from phototrace.photos.bursts import BURST_BITS, SECONDS, moment_of, reset_clocks
from phototrace.photos.corpora import COLLECTIONS
from phototrace.photos.grouping import connected
from phototrace.photos.manifest import Manifest, PhotoRecord, cell
from phototrace.photos.perceptual import (
    hashes_of,
    is_hash,
    is_look,
    looks_of,
    near_any,
    near_pairs,
    same_picture,
)

VERSION = 1
KEY_BYTES = 32
NAMES = ("model", "device", "body", "scene", "burst")
_Rows = NDArray[np.int64]
_UNTAKEN = np.iinfo(np.int64).min
_LOOK = 64


@dataclass(frozen=True, eq=False)
class Remembered:
    """Photos to be known again, n of them; nothing here names one.

    Attributes:
        key: Of the hashes of names; empty where it was left out.
        hashed: bool (n,), whether the photo could be read: else hash and look are nothing.
        phash: uint64 (n,).
        look: int8 (n, 64).
        taken: int64 (n,), microseconds since 1970; the least number there is where unknown.
        model, device, body, scene, burst: Hashes of names (n,), "" where unknown. The device of a
            photo by an unknown one is its camera model's.
        known_device: bool (n,).
        complete: Whether these are all photos that trained, with names under this key.
    """

    key: bytes
    hashed: NDArray[np.bool_]
    phash: NDArray[np.uint64]
    look: NDArray[np.int8]
    taken: NDArray[np.int64]
    model: NDArray[np.str_]
    device: NDArray[np.str_]
    body: NDArray[np.str_]
    scene: NDArray[np.str_]
    burst: NDArray[np.str_]
    known_device: NDArray[np.bool_]
    complete: bool = True

    def __len__(self) -> int:
        """How many photos."""
        return len(self.hashed)

    @property
    def tells_devices(self) -> bool:
        """Whether it can be said of a device or scene that no photo of it is among these."""
        return bool(self.key) and self.complete

    def met(self, what: str, names: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Which names, (n,), of known devices ("device") or scenes ("scene") are of these: (n,)."""
        values, index = np.unique(names, return_inverse=True)
        known = self.device[self.known_device] if what == "device" else getattr(self, what)
        found: NDArray[np.bool_] = _among(_keyed(self.key, what, values.tolist()), known)[index]
        return found

    def join(self, other: Remembered) -> Remembered:
        """These photos and others'; names under another key are lost."""
        if other.key != self.key:
            nothing = np.full(len(other), "", dtype="<U16")
            other = replace(
                other, model=nothing, device=nothing, body=nothing, scene=nothing, burst=nothing,
                known_device=np.zeros(len(other), dtype=np.bool_), complete=False,
            )  # fmt: skip
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _ARRAYS
        }
        return Remembered(key=self.key, **arrays, complete=self.complete and other.complete)

    def save(self, path: Path) -> None:
        """Write all but the key as a Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS if name != "look"}
        columns["look"] = pa.array([row.tobytes() for row in self.look], pa.binary(_LOOK))
        facts = {"version": VERSION, "complete": self.complete, "key": _proof(self.key)}
        table = pa.table(columns).replace_schema_metadata({"phototrace": json.dumps(facts)})
        with written_whole(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path, key: bytes) -> Remembered:
        """Read what `save` wrote; `key` is empty where it was left out.

        Raises `DamagedError` where the file cannot be read, or the key is not its own.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                facts = json.loads(file.schema_arrow.metadata[b"phototrace"])
                table = file.read()
            table.validate(full=True)
            looks = b"".join(table["look"].to_pylist())
            arrays = {name: table[name].to_numpy() for name in _ARRAYS if name != "look"}
            arrays |= {name: arrays[name].astype("<U16") for name in NAMES}
            arrays["look"] = np.frombuffer(looks, dtype=np.int8).reshape(len(table), _LOOK)
            sound = facts["version"] == VERSION
            sound &= all(arrays[name].dtype == dtype for name, dtype in _ARRAYS.items())
            complete = bool(facts["complete"])
            proof = facts["key"]
        except (pa.ArrowException, OSError, ValueError, TypeError, LookupError):
            sound = False
        if not sound:
            raise DamagedError(f"{path} cannot be read. Restore the folder, or train again.")
        if key and _proof(key) != proof:
            raise DamagedError(f"The key beside {path} is not its own. Restore or remove it.")
        return cls(key=key, **arrays, complete=complete)


_ARRAYS: dict[str, Any] = {
    f.name: {
        "hashed": np.bool_, "known_device": np.bool_, "phash": np.uint64, "look": np.int8,
        "taken": np.int64,
    }.get(f.name, "<U16")
    for f in fields(Remembered) if f.name not in ("key", "complete")
}  # fmt: skip


@dataclass(frozen=True)
class Recognised:
    """Which photos of a manifest are among remembered ones, by id, and what else these tell.

    Attributes:
        reasons: Photo -> "same file", "resaved" or "same burst".
        device: Photos by a device that took a remembered one.
        scene: Photos of a scene of a remembered one.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    device: frozenset[str] = frozenset()
    scene: frozenset[str] = frozenset()


def remember(photos: Sequence[PhotoRecord], key: bytes) -> Remembered:
    """What to keep of photos; those without `phash` and `look` are kept by their names alone."""
    hashes = [cell(p, "phash") for p in photos]
    looks = [cell(p, "look") for p in photos]
    hashed = [is_hash(a) and is_look(b) for a, b in zip(hashes, looks, strict=True)]
    reset = reset_clocks(photos)
    texts = {
        "model": [p.camera for p in photos],
        "device": [p.device_id for p in photos],
        "body": [cell(p, "body") for p in photos],
        "scene": [p.scene for p in photos],
        "burst": [p.burst for p in photos],
    }
    names: dict[str, Any] = {what: _keyed(key, what, of_it) for what, of_it in texts.items()}
    return Remembered(
        key=key,
        hashed=np.array(hashed, dtype=np.bool_),
        phash=hashes_of([h if is_hash(h) else "0" for h in hashes]),
        look=looks_of(looks),
        taken=np.array([_microseconds(p, reset) for p in photos], dtype=np.int64),
        known_device=np.array([bool(p.device) for p in photos], dtype=np.bool_),
        **names,
    )


def recognise(known: Remembered, manifest: Manifest, hashes: Collection[str]) -> Recognised:
    """Hold photos against remembered ones, by the rules of `audit` and `bursts`.

    Args:
        known: The remembered photos.
        manifest: With the columns `phash`, `look`, `body` and `taken` as far as they are known.
        hashes: SHA-256 of the remembered files.

    Returns:
        A photo is the same file; or else resaved (or looks the same); or else in one burst: taken
        by the same device (or, where one does not tell its device, by the same model) within ten
        seconds or nearly equal, directly or through other photos of its burst in the manifest. A
        device counts as met also under another name, where its body's serial number or one of its
        photos was, or a photo of its model beside one of its own, with no number to part them.
    """
    photos = manifest.photos
    same = {p.id: "same file" for p in photos if p.sha256 in hashes}
    tests = remember(photos, known.key)
    resaved = {photos[n].id: "resaved" for n in _resaved(known, tests)}
    burst = {photos[n].id for n in _beside(known, tests)} if known.key else set()
    found = {**resaved, **same}
    bursts = {p.burst for p in photos if p.id in found or p.id in burst} - {""}
    burst |= {p.id for p in photos if p.burst in bursts}
    reasons = {**dict.fromkeys(burst, "same burst"), **found}
    return Recognised(
        {p.id: reasons[p.id] for p in photos if p.id in reasons},
        _met_devices(known, tests, photos, reasons) if known.key else frozenset(),
        frozenset(photos[n].id for n in np.flatnonzero(_among(tests.scene, known.scene))),
    )


def _resaved(known: Remembered, tests: Remembered) -> set[int]:
    """Which tests look like a remembered photo. One scene by two devices may look alike."""
    # Looks without contrast correlate with nothing.
    ours, theirs = (np.flatnonzero(of.hashed & of.look.any(axis=1)) for of in (tests, known))
    hashes = np.concatenate([tests.phash[ours], known.phash[theirs]])
    side = np.repeat([0, 1], [len(ours), len(theirs)])
    found: set[int] = set()
    for block in near_pairs(hashes, apart=side):
        a, b = ours[block[:, 0]], theirs[block[:, 1] - len(ours)]
        alike = same_picture(tests.look[a], known.look[b])
        scene = (tests.scene[a] != "") & (tests.scene[a] == known.scene[b])
        two = tests.known_device[a] & known.known_device[b] & (tests.device[a] != known.device[b])
        found |= set(a[alike & ~(scene & two)].tolist())
    return found


def _beside(known: Remembered, tests: Remembered) -> Iterator[int]:
    """Tests in one burst with a remembered photo."""
    yield from np.flatnonzero(_among(tests.burst, known.burst)).tolist()
    for ours, theirs in _of_one_device(known, tests):
        yield from ours[_within(tests.taken[ours], known.taken[theirs])].tolist()
        mine, others = ours[tests.hashed[ours]], theirs[known.hashed[theirs]]
        yield from mine[near_any(tests.phash[mine], known.phash[others], BURST_BITS)].tolist()


def _of_one_device(known: Remembered, tests: Remembered) -> Iterator[tuple[_Rows, _Rows]]:
    """Rows of tests and of remembered photos that may be by one device.

    A photo that does not tell its device may be by any of its model.
    """
    rows = _rows_by(known.device)
    for device, ours in _rows_by(tests.device).items():
        if device in rows:
            yield ours, rows[device]
    rows = _rows_by(known.model)
    for model, ours in _rows_by(tests.model).items():
        theirs = rows.get(model, np.zeros(0, dtype=np.int64))
        for told in (True, False):
            pair = (
                ours[tests.known_device[ours] == told],
                theirs[known.known_device[theirs] != told],
            )
            if all(map(len, pair)):
                yield pair


def _within(times: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which times have a known one within a burst's seconds."""
    known = np.sort(known[known != _UNTAKEN])
    if not len(known):
        return np.zeros(len(times), dtype=np.bool_)
    after = np.searchsorted(known, times).clip(0, len(known) - 1)
    before = (after - 1).clip(0)
    reach = np.int64(SECONDS * 1e6)
    there = times != _UNTAKEN
    safe = np.where(there, times, 0)
    near = (np.abs(known[after] - safe) <= reach) | (np.abs(known[before] - safe) <= reach)
    both: NDArray[np.bool_] = there & near
    return both


def _met_devices(
    known: Remembered, tests: Remembered, photos: Sequence[PhotoRecord], reasons: Collection[str]
) -> frozenset[str]:
    """Photos of each device or body of which one photo, or the name, is remembered."""
    met = (_among(tests.device, known.device[known.known_device]) & tests.known_device) | _among(
        tests.body, known.body
    )
    met |= np.array([p.id in reasons for p in photos], dtype=np.bool_)
    by_hand = np.array([p.corpus not in COLLECTIONS for p in photos], dtype=np.bool_)
    met |= _maybe_met(known, tests) & by_hand
    device = np.where(tests.known_device, tests.device, "")
    groups = connected(range(len(photos)), lambda n: [str(device[n]), str(tests.body[n])])
    return frozenset(photos[n].id for group in groups if met[group].any() for n in group)


def _maybe_met(known: Remembered, tests: Remembered) -> NDArray[np.bool_]:
    """Tests taken beside a remembered photo of their model, where no serial number parts the two.

    Their devices are told by folders or tables, which may name one body twice; the collections'
    own names do not.
    """
    maybe = np.zeros(len(tests), dtype=np.bool_)
    rows = _rows_by(np.where(known.body == "", known.model, ""))
    for model, ours in _rows_by(np.where(tests.body == "", tests.model, "")).items():
        if model in rows:
            maybe[ours] = _within(tests.taken[ours], known.taken[rows[model]])
    return maybe


def _among(names: NDArray[np.str_], known: NDArray[np.str_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.isin(names, np.unique(known)) & (names != "")
    return found


def _rows_by(names: NDArray[np.str_]) -> dict[str, _Rows]:
    """Name -> the rows that have it; "" is no name."""
    order = np.argsort(names, kind="stable")
    values, starts = np.unique(names[order], return_index=True)
    rows = np.split(order, starts)[1:]
    return {str(v): r for v, r in zip(values, rows, strict=True) if v}


def _keyed(key: bytes, what: str, names: Sequence[str]) -> NDArray[np.str_]:
    """Hashes of names, 16 hexadecimal digits; "" stays, and stands for all without a key."""
    if not key:
        return np.full(len(names), "", dtype="<U16")
    made = {
        name: hmac.digest(key, f"{what}:{name}".encode("utf-8", "surrogatepass"), "sha256").hex()
        for name in set(names) - {""}
    }
    return np.array([made[name][:16] if name else "" for name in names], dtype="<U16")


def _proof(key: bytes) -> str:
    return hashlib.sha256(b"phototrace key " + key).hexdigest() if key else ""


def _microseconds(photo: PhotoRecord, reset: Collection[str]) -> int:
    """When a photo was taken; of a device whose clock did not run, nobody knows."""
    moment = None if photo.device_id in reset else moment_of(cell(photo, "taken"))
    if moment is None:
        return int(_UNTAKEN)
    return int(np.datetime64(moment, "us").astype(np.int64))
