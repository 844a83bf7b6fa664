"""The manifest: a frozen table of photos, kept as Parquet or CSV, and checked against the files.

A CSV needs the columns `path` and `sha256`; `make, model, device, scene, burst, width, height,
qtables, corpus` are known, and every other column is kept as text. Parquet has the same columns and
a format version in its schema's metadata.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from phototrace.errors import DamagedError, PhotoError, UsageError
from phototrace.files import hash_of, relative_path, write_bytes, written_whole
from phototrace.photos.photo import legible, read_whole
from phototrace.progress import parallel_map

VERSION = 1
_VERSION_KEY = b"phototrace.manifest"
_NUMBERS = ("width", "height")
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
        make, model = self.make.strip(), self.model.strip()
        if not make or not model or model.split()[0].lower() == make.split()[0].lower():
            return model
        return f"{make} {model}"

    @property
    def device_id(self) -> str:
        """Camera model and device: names one camera body across the whole manifest."""
        return f"{self.camera or 'unknown camera'} / {self.device or UNKNOWN_DEVICE}"


OWN_COLUMNS = tuple(f.name for f in fields(PhotoRecord) if f.name not in ("id", "extra"))
_DERIVED_COLUMNS = ("id", "camera", "device_id")


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
            if name not in self.columns and name not in _DERIVED_COLUMNS:
                raise UsageError(
                    f"The manifest has no column {name!r}. It has: {', '.join(self.columns)}."
                )
        return wanted

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a `.csv` or `.parquet` manifest.

        Raises:
            UsageError: There is no such file, or the table is wrong: the row or column is named.
            DamagedError: The file cannot be read, or a newer phototrace wrote it.
        """
        path = Path(path)
        try:
            rows = _read_parquet(path) if _suffix(path) == ".parquet" else _read_csv(path)
        except OSError as error:
            raise UsageError(
                f"The manifest {legible(path)} cannot be opened ({error.strerror or error}). "
                "Check the path."
            ) from None
        corpus = Path(os.path.abspath(path)).parent.name
        return cls(tuple(_record(row, n, path, corpus) for n, row in rows), path.parent)

    def save(self, path: Path) -> Manifest:
        """Write as `.csv` or `.parquet`, by the name's ending, whole or not at all.

        Relative paths are rewritten to start from the new file's folder.

        Returns:
            The manifest as reading the file gives it.
        """
        path = Path(path)
        suffix = _suffix(path)
        moved = self._moved_to(path.parent)
        rows = [[_writable(p, c) for c in moved.columns] for p in moved.photos]
        if suffix == ".parquet":
            _write_parquet(path, moved.columns, rows)
        else:
            write_bytes(path, _csv_of([list(moved.columns), *rows]))
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


@dataclass(frozen=True)
class Problem:
    """What is wrong with one file. `text` is a sentence or two that names it."""

    path: str
    kind: str  # "missing", "changed", "unreadable", "duplicate"; from indexing also "skipped"
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


def duplicate_problem(path: str, earlier: str) -> Problem:
    """The problem of a file with the same bytes as an earlier one."""
    text = f"{legible(path)} is the same file as {legible(earlier)}. The first is kept."
    return Problem(path, "duplicate", text)


def cell(record: PhotoRecord, column: str) -> str:
    """A column of a record as text: own and derived columns first, then `extra`; "" if absent."""
    if column in OWN_COLUMNS or column in _DERIVED_COLUMNS:
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


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(f"A manifest's name ends in .csv or .parquet, not as {legible(path)}.")
    return suffix


def _csv_of(rows: list[list[str]]) -> bytes:
    # The csv module leaves a lone carriage return unquoted, and then reads it as the row's end.
    returns = any("\r" in text for row in rows for text in row)
    text = io.StringIO(newline="")
    csv.writer(
        text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    ).writerows(rows)
    return text.getvalue().encode("utf-8")


def _read_csv(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except UnicodeDecodeError:
        raise UsageError(f"{legible(path)} is not UTF-8 text. Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise UsageError(f"{legible(path)} is not a CSV table ({error}). Save it again.") from None
    header = table[0] if table else []
    _check_header(path, header)
    rows = []
    for number, row in enumerate(table[1:], start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise UsageError(
                f"Row {number} of {legible(path)} has {len(row)} fields where the first row has "
                f"{len(header)}. Correct it."
            )
        rows.append((number, dict(zip(header, row, strict=True))))
    return rows


def _read_parquet(path: Path) -> list[tuple[int, dict[str, str]]]:
    import pyarrow
    import pyarrow.parquet

    with path.open("rb") as file:
        try:
            table = pyarrow.parquet.read_table(file)
        except (pyarrow.ArrowException, OSError):
            raise DamagedError(
                f"{legible(path)} cannot be read as Parquet. Make it again."
            ) from None
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"1")
    if not version.isdigit() or int(version) > VERSION:
        raise DamagedError(
            f"{legible(path)} was written by a newer phototrace (manifest format "
            f"{legible(version.decode('latin-1'))}, this one reads {VERSION}). Update phototrace."
        )
    _check_header(path, table.column_names)
    texts = [
        ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        for name in table.column_names
    ]
    rows = zip(*texts, strict=True)
    return [(n, dict(zip(table.column_names, row, strict=True))) for n, row in enumerate(rows, 1)]


def _write_parquet(path: Path, columns: tuple[str, ...], rows: list[list[str]]) -> None:
    import pyarrow
    import pyarrow.parquet

    data: dict[str, Any] = {}
    for number, name in enumerate(columns):
        values = [row[number] for row in rows]
        data[name] = (
            pyarrow.array([int(value) for value in values], pyarrow.int64())
            if name in _NUMBERS else pyarrow.array(values, pyarrow.string())
        )  # fmt: skip
    table = pyarrow.table(data).replace_schema_metadata({_VERSION_KEY: str(VERSION).encode()})
    with written_whole(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def _check_header(path: Path, header: list[str]) -> None:
    for name in ("path", "sha256"):
        if name not in header:
            raise UsageError(
                f"{legible(path)} has no column {name!r}. A manifest needs path and sha256, "
                "separated by commas; `phototrace index` makes one."
            )
    for name in header:
        if header.count(name) > 1:
            raise UsageError(f"{legible(path)} has the column {name!r} twice. Remove one.")


def _record(row: Mapping[str, str], number: int, path: Path, corpus: str) -> PhotoRecord:
    def wrong(what: str) -> UsageError:
        return UsageError(f"Row {number} of {legible(path)}: {what}")

    sha256 = row["sha256"].strip().lower()
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise wrong("sha256 is not 64 hexadecimal digits. Index the photos again.")
    if not row["path"] or "\x00" in row["path"]:
        raise wrong("the path is empty or holds a NUL character. Correct it.")
    numbers = {name: row.get(name, "").strip() or "0" for name in _NUMBERS}
    for name, text in numbers.items():
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise wrong(f"{name} is {text[:40]!r}, not a number of pixels. Correct it.")
    known = {name: row.get(name, "") for name in OWN_COLUMNS if name not in _NUMBERS}
    known["sha256"] = sha256
    if "corpus" not in row:
        known["corpus"] = corpus
    return PhotoRecord(
        id=sha256[:16],
        **known,
        width=int(numbers["width"]),
        height=int(numbers["height"]),
        extra={name: text for name, text in row.items() if name not in OWN_COLUMNS},
    )
