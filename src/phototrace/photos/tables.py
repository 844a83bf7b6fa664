"""Tables of text on disk: CSV as people have it, and Parquet; written whole or not at all.

CSV is read with commas, semicolons (as Excel writes in much of Europe) or tabs, in UTF-8 or, where
the file says so by its first bytes, UTF-16. It is written with commas in UTF-8.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from phototrace.errors import DamagedError, UsageError
from phototrace.files import write_bytes, written_whole
from phototrace.photos.photo import legible

VERSION = 1
_VERSION_KEY = b"phototrace.manifest"
_DELIMITERS = (",", ";", "\t")
Rows = list[tuple[int, dict[str, str]]]
"""Number of each row in its file, and its fields by column."""


def read_table(path: Path, needed: Collection[str], known: Collection[str] = ()) -> Rows:
    """Rows of a `.csv` or `.parquet` table whose columns include those `needed`.

    Names of `needed` and `known` columns are understood in any case, with spaces about them.

    Raises:
        OSError: The file cannot be opened.
        UsageError: The ending is another, or the table is wrong; the row or column is named.
        DamagedError: The Parquet file cannot be read, or a newer phototrace wrote it.
    """
    header, rows = (_read_parquet if suffix_of(path) == ".parquet" else _read_csv)(path, needed)
    plain = {*needed, *known}
    header = [name.strip().lower() if name.strip().lower() in plain else name for name in header]
    _check_header(path, header, needed)
    return [(number, dict(zip(header, row, strict=True))) for number, row in rows]


def write_table(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]
) -> None:
    """Write as `.csv` or `.parquet`, by the name's ending; there, `numbers` are int64 columns."""
    if suffix_of(path) == ".parquet":
        _write_parquet(path, columns, rows, numbers)
    else:
        write_bytes(path, _csv_of([columns, *rows]))


def suffix_of(path: Path) -> str:
    """The ending, ".csv" or ".parquet"; raises `UsageError` for any other."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(f"A manifest's name ends in .csv or .parquet, not as {legible(path)}.")
    return suffix


def text_of(data: bytes, errors: str = "strict") -> str:
    """The text of a CSV file's bytes, or of its first bytes."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding != "utf-16" and b"\x00" in data[:2]:  # UTF-16 that does not say so
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    # Excel's own first line, which names the delimiter.
    return re.sub(r"\A\ufeff?sep=.\r?\n", "", data.decode(encoding, errors))


def rows_of(text: str, needed: Collection[str], *, strict: bool = False) -> list[list[str]]:
    """All rows, the header first, with the delimiter that gives the columns `needed`.

    Where none does, commas are taken. Case does not matter for `needed`.

    Raises:
        csv.Error: The text is no CSV table.
    """
    delimiter = next((d for d in _DELIMITERS if set(needed) <= _header(text, d)), ",")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict))


def has_columns(text: str, needed: Collection[str]) -> bool:
    """Whether the first row of a text has the columns `needed`, with one of the delimiters."""
    return any(set(needed) <= _header(text, delimiter) for delimiter in _DELIMITERS)


def _header(text: str, delimiter: str) -> set[str]:
    first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    return {name.strip().lower() for name in first}


_Read = tuple[list[str], list[tuple[int, Sequence[str]]]]
"""The header, and the fields of each row with its number in the file."""


def _read_csv(path: Path, needed: Collection[str]) -> _Read:
    try:
        header, *table = rows_of(text_of(path.read_bytes()), needed, strict=True) or [[]]
    except UnicodeDecodeError:
        raise UsageError(f"{legible(path)} is not UTF-8 text. Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise UsageError(f"{legible(path)} is not a CSV table ({error}). Save it again.") from None
    rows: list[tuple[int, Sequence[str]]] = []
    for number, row in enumerate(table, start=2):
        if not any(text.strip() for text in row):
            continue  # as spreadsheets leave them behind
        if len(row) != len(header):
            raise UsageError(
                f"Row {number} of {legible(path)} has {len(row)} fields where the first row has "
                f"{len(header)}. Correct it."
            )
        rows.append((number, row))
    return header, rows


def _read_parquet(path: Path, needed: Collection[str]) -> _Read:
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
    texts = [
        ["" if value is None else str(value) for value in table.column(name).to_pylist()]
        for name in table.column_names
    ]
    return table.column_names, list(enumerate(zip(*texts, strict=True), 1))


def _csv_of(rows: Sequence[Sequence[str]]) -> bytes:
    # The csv module leaves a lone carriage return unquoted, and then reads it as the row's end.
    returns = any("\r" in text for row in rows for text in row)
    text = io.StringIO(newline="")
    csv.writer(
        text, lineterminator="\n", quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    ).writerows(rows)
    return text.getvalue().encode("utf-8")


def _write_parquet(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]
) -> None:
    import pyarrow
    import pyarrow.parquet

    data: dict[str, Any] = {}
    for number, name in enumerate(columns):
        values = [row[number] for row in rows]
        data[name] = (
            pyarrow.array([int(value) for value in values], pyarrow.int64())
            if name in numbers else pyarrow.array(values, pyarrow.string())
        )  # fmt: skip
    table = pyarrow.table(data).replace_schema_metadata({_VERSION_KEY: str(VERSION).encode()})
    with written_whole(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def _check_header(path: Path, header: list[str], needed: Collection[str]) -> None:
    for name in needed:
        if name not in header:
            raise UsageError(
                f"{legible(path)} has no column {name!r}. A table of photos needs {name}, in "
                "columns separated by commas, semicolons or tabs."
            )
    for name in header:
        if header.count(name) > 1:
            raise UsageError(f"{legible(path)} has the column {name!r} twice. Remove one.")
