"""The manifest: a frozen table of photos, kept as Parquet or CSV, and checked against the files.

A CSV needs the columns `path` and `sha256`; `make, model, device, scene, burst, width, height,
qtables, corpus` are known, and every other column is kept as text. In known columns, in `part` and
in those that indexing adds, `nan`, `None` and `null` are empty. Parquet has the same columns and a
format version in its schema's metadata. `indexing.index` completes tables without `sha256`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from phototrace.errors import PhotoError, UsageError
from phototrace.files import hash_of, relative_path
from phototrace.photos.columns import DERIVED, without_derived
from phototrace.photos.names import joined
from phototrace.photos.photo import legible, read_whole
from phototrace.photos.tables import read_table, suffix_of, write_table
from phototrace.progress import parallel_map

_NUMBERS = ("width", "height")
_PIXELS = re.compile(r"(\d{1,9})(\.0*)?", re.ASCII)
_EMPTY = {"nan", "none", "null", "<na>"}  # as programs write what is not there
UNKNOWN_DEVICE = "unknown device"
"""How the `device_id` of a photo by an unknown device ends."""


@dataclass(frozen=True)
class PhotoRecord:
    """One row of a manifest. Text is "" where unknown, `width` and `height` are 0.

    Attributes:
        id: First 16 hexadecimal digits of `sha256`.
        path: Relative to the manifest's folder, or absolute.
        sha256: Of the file's bytes, 64 hexadecimal digits.
        make: Maker of the camera.
        model: Model of the camera.
        device: Name of the single camera, unique within its model.
        scene: Where and what was photographed: photos of one scene may look alike.
        burst: Equal for photos taken in a row or nearly equal: these must never be parted.
        width: Pixels, as stored.
        height: Pixels, as stored.
        qtables: Name of the quantisation tables.
        corpus: Name of the collection.
        extra: Every other column, as text.
    """

    id: str
    path: str
    sha256: str
    make: str = ""
    model: str = ""
    device: str = ""
    scene: str = ""
    burst: str = ""
    width: int = 0
    height: int = 0
    qtables: str = ""
    corpus: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def camera(self) -> str:
        """Make and model without naming the make twice; "" when the model is unknown."""
        return joined(self.make, self.model)

    @property
    def device_id(self) -> str:
        """Camera model and device: names one camera body across the whole manifest."""
        return f"{self.camera or 'unknown camera'} / {self.device or UNKNOWN_DEVICE}"


OWN_COLUMNS = tuple(f.name for f in fields(PhotoRecord) if f.name not in ("id", "extra"))
_ADDED_COLUMNS = ("phash", "look", "body", "taken", "taken_from", "damage", "original", "part")
"""By indexing, by a corpus, or by who splits by hand."""


@dataclass(frozen=True)
class Manifest:
    """A frozen table of photos. `root` is the folder that relative paths start from."""

    photos: tuple[PhotoRecord, ...]
    root: Path

    def __post_init__(self) -> None:
        """Make `root` absolute: worker processes may stand in another folder."""
        object.__setattr__(self, "root", Path(self.root).absolute())

    @property
    def hash(self) -> str:
        """Names the data: 64 hexadecimal digits, independent of paths and of the rows' order."""
        return hash_of(
            sorted([p.sha256, p.make, p.model, p.device, p.scene, p.burst] for p in self.photos)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns: the known ones, then the others in order of their first appearance."""
        return OWN_COLUMNS + tuple(dict.fromkeys(name for p in self.photos for name in p.extra))

    def path_of(self, record: PhotoRecord) -> Path:
        """Where the record's file is."""
        return self.root / record.path

    def where(self, **columns: str | Iterable[str]) -> Manifest:
        """The photos whose columns have one of the given values, in the same order.

        Example: `manifest.where(part=["main", "reduced"], make="Apple")`. A photo without a
        column counts as having "" there. `id`, `camera` and `device_id` can be asked for too.

        Raises:
            UsageError: No photo has such a column.
        """
        wanted = self._wanted(columns)
        kept = (p for p in self.photos if all(cell(p, c) in v for c, v in wanted.items()))
        return replace(self, photos=tuple(kept))

    def without(self, **columns: str | Iterable[str]) -> Manifest:
        """The photos none of whose columns has one of the given values; else as `where`."""
        wanted = self._wanted(columns)
        kept = (p for p in self.photos if all(cell(p, c) not in v for c, v in wanted.items()))
        return replace(self, photos=tuple(kept))

    def renamed(self, models: Mapping[str, str]) -> Manifest:
        """Photos of some camera models as of others: `{"Nikon D70s": "Nikon D70"}`.

        Their devices get the old name before their own, for both models may have a device 0; an
        unknown device stays unknown. The make stays where it goes with the new name. Models that no
        photo is of do not matter.
        """

        def moved(p: PhotoRecord) -> PhotoRecord:
            new = models.get(p.camera)
            if new is None:
                return p
            renamed = replace(p, model=new, device=p.device and f"{p.camera} {p.device}")
            return renamed if renamed.camera == new.strip() else replace(renamed, make="")

        return replace(self, photos=tuple(map(moved, self.photos)))

    def _wanted(self, columns: Mapping[str, str | Iterable[str]]) -> dict[str, set[str]]:
        wanted = {
            name: {values} if isinstance(values, str) else {str(value) for value in values}
            for name, values in columns.items()
        }
        for name in wanted:
            if name not in self.columns and name not in DERIVED:
                raise UsageError(
                    f"The manifest has no column {name!r}. It has: {', '.join(self.columns)}."
                )
        return wanted

    @classmethod
    def load(cls, path: Path, *, hashed: bool = True) -> Manifest:
        """Read a `.csv` or `.parquet` manifest.

        A path is taken as it stands; where no such file is there, `\\` in it counts as `/`.

        Args:
            path: The table: CSV with commas, semicolons or tabs, in UTF-8 or UTF-16; or Parquet.
            hashed: Whether every row must have a `sha256`; else it may be "".

        Raises:
            UsageError: There is no such file, or the table is wrong: the row or column is named.
            DamagedError: The file cannot be read, or a newer phototrace wrote it.
        """
        path = Path(path)
        try:
            rows = read_table(path, ["path"], (*OWN_COLUMNS, *_ADDED_COLUMNS, *DERIVED))
        except OSError as error:
            raise UsageError(
                f"The manifest {legible(path)} cannot be opened ({error.strerror or error}). "
                "Check the path."
            ) from None
        corpus = Path(os.path.abspath(path)).parent.name
        photos = tuple(_record(row, n, path, corpus, hashed) for n, row in rows)
        return cls(photos, path.parent)

    def save(self, path: Path) -> Manifest:
        """Write as `.csv` or `.parquet`, by the name's ending, whole or not at all.

        Relative paths are rewritten to start from the new file's folder.

        Returns:
            The manifest as reading the file gives it.
        """
        path = Path(path)
        suffix_of(path)
        moved = self._moved_to(path.parent)
        rows = [[_writable(p, c) for c in moved.columns] for p in moved.photos]
        write_table(path, moved.columns, rows, _NUMBERS)
        return moved

    def _moved_to(self, folder: Path) -> Manifest:
        here, there = os.path.realpath(self.root), os.path.realpath(folder)
        if here == there:
            return replace(self, root=folder)
        photos = tuple(
            p if os.path.isabs(p.path)
            else replace(p, path=relative_path(os.path.join(here, p.path), there))
            for p in self.photos
        )  # fmt: skip
        return Manifest(photos, folder)


def join(manifests: Sequence[Manifest]) -> Manifest:
    """One manifest of the photos of several, its root their common folder. Paths are rewritten.

    Bursts stay as each names them; those that reach from one into another are found by indexing
    where none has any yet.
    """
    try:
        root = os.path.commonpath([os.path.realpath(m.root) for m in manifests])
    except ValueError:  # on Windows, of two drives
        root = os.path.realpath(manifests[0].root)

    def seen(path: Path) -> str:
        return relative_path(os.path.join(os.path.realpath(path.parent), path.name), root)

    photos = (replace(p, path=seen(m.path_of(p))) for m in manifests for p in m.photos)
    return Manifest(tuple(photos), Path(root))


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file. `text` is a sentence or two that names it."""

    path: str
    kind: str  # "missing", "changed", "unreadable", "duplicate", "conflict", "skipped", ...
    text: str


def verify(manifest: Manifest, *, keep_damaged: bool = False) -> list[Problem]:
    """Hold a manifest against its files; every photo is hashed and decoded, on all cores.

    Args:
        manifest: The photos.
        keep_damaged: Take JPEG that have lost data. Those whose column `damage` says that they were
            taken when they were indexed are taken in any case.

    Returns:
        One problem for each file that is missing, changed (another SHA-256), unreadable (damaged
        also), or a duplicate (same SHA-256 as an earlier row), in the manifest's order.
    """
    jobs = [
        (manifest.path_of(record), record.sha256, keep_damaged or is_kept_damaged(record))
        for record in manifest.photos
    ]
    found = parallel_map(_check_job, jobs, "Checking photos")
    problems: list[Problem] = []
    first: dict[str, PhotoRecord] = {}
    for record, problem in zip(manifest.photos, found, strict=True):
        earlier = first.setdefault(record.sha256, record)
        if problem is not None:
            problems.append(replace(problem, path=record.path))
        elif earlier is not record:
            problems.append(duplicate_problem(record.path, earlier.path))
    return problems


def is_kept_damaged(record: PhotoRecord) -> bool:
    """Whether a photo was taken although it has lost data: its column `damage` says which."""
    return bool(record.extra.get("damage", "").strip())


def _check_job(job: tuple[Path, str, bool]) -> Problem | None:
    return check_file(job[:2], keep_damaged=job[2])


def check_file(job: tuple[Path, str], *, keep_damaged: bool = False) -> Problem | None:
    """What is wrong with the file at `job[0]` that should have the SHA-256 `job[1]`, or None."""
    path, sha256 = job
    if not path.exists():
        return Problem(str(path), "missing", f"{legible(path)} is not there. Restore it.")
    try:
        photo, _ = read_whole(path, keep_damaged=keep_damaged)
    except PhotoError as error:
        return Problem(str(path), "unreadable", str(error))
    if photo.sha256 != sha256:
        return changed_problem(path)
    return None


def changed_problem(path: Path) -> Problem:
    """The problem of a file that is not the one the manifest names."""
    text = f"{legible(path)} is not the file that was indexed. Restore it, or index again."
    return Problem(str(path), "changed", text)


def size_problem(path: Path, found: tuple[int, int], record: PhotoRecord) -> Problem | None:
    """The problem of a file of another width and height than its record says, or None."""
    if found == (record.width, record.height):
        return None
    text = (
        f"{legible(path)} has {found[0]} x {found[1]} pixels where the manifest says "
        f"{record.width} x {record.height}. Index the photos again."
    )
    return Problem(str(path), "changed", text)


def duplicate_problem(path: str, earlier: str) -> Problem:
    """The problem of a file with the same bytes as one that is kept."""
    text = f"{legible(path)} is the same file as {legible(earlier)}, which is kept."
    return Problem(path, "duplicate", text)


def cell(record: PhotoRecord, column: str) -> str:
    """A column of a record as text: own and derived columns first, then `extra`; "" if absent."""
    if column in OWN_COLUMNS or column in DERIVED:
        return str(getattr(record, column))
    return record.extra.get(column, "")


def _writable(record: PhotoRecord, column: str) -> str:
    text = cell(record, column)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"The {column} of {legible(record.path)} is not valid UTF-8 and cannot be written to a "
            "manifest. Rename the file."
        ) from None
    return text


def _record(
    row: Mapping[str, str], number: int, path: Path, corpus: str, hashed: bool
) -> PhotoRecord:
    def wrong(what: str) -> UsageError:
        return UsageError(f"Row {number} of {legible(path)}: {what}")

    row = {name: _said(name, text) for name, text in row.items()}
    sha256 = row.get("sha256", "").strip().lower()
    if hashed and not sha256:
        where = f"Row {number} of {legible(path)}" if "sha256" in row else legible(path)
        raise UsageError(
            f"{where} has no sha256, which freezes a manifest. Index the table: phototrace index "
            f"{legible(path)} -o photos.parquet"
        )
    if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise wrong("sha256 is not 64 hexadecimal digits. Index the photos again.")
    if not row["path"] or "\x00" in row["path"]:
        raise wrong("the path is empty or holds a NUL character. Correct it.")
    pixels: dict[str, int] = {}
    for name in _NUMBERS:
        number_of = _PIXELS.fullmatch(row.get(name, "").strip() or "0")
        if number_of is None:
            raise wrong(f"{name} is {row[name][:40]!r}, not a number of pixels. Correct it.")
        pixels[name] = int(number_of[1])
    known = {name: row.get(name, "") for name in OWN_COLUMNS if name not in _NUMBERS}
    known |= {"sha256": sha256, "path": _portable(row["path"], path.parent)}
    if "corpus" not in row:
        known["corpus"] = corpus
    record = PhotoRecord(
        id=sha256[:16],
        **known,
        width=pixels["width"],
        height=pixels["height"],
        extra={name: text for name, text in row.items() if name not in OWN_COLUMNS},
    )
    derived = {name: str(getattr(record, name)) for name in DERIVED}
    return replace(record, extra=without_derived(record.extra, derived, wrong))


def _said(name: str, text: str) -> str:
    known = name != "path" and (name in OWN_COLUMNS or name in _ADDED_COLUMNS)
    return "" if known and text.strip().lower() in _EMPTY else text


def _portable(text: str, folder: Path) -> str:
    """A path that may have been written on Windows, as this system has it."""
    if "\\" not in text or (folder / text).exists():
        return text
    return text.replace("\\", "/")
