"""Columns that a manifest's rows have by their others, and a person may bring along as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from phototrace.errors import UsageError
from phototrace.photos.photo import legible

DERIVED = {
    "id": "which is made from sha256. Rename your column, for example to photo_id.",
    "camera": "which is make and model. Give it in the columns make and model.",
    "device_id": "which is make, model and device. Give it in the column device.",
}
"""Name of a derived column -> what it is, and what to call a column of your own instead."""


def without_derived(
    extra: Mapping[str, str], derived: Mapping[str, str], wrong: Callable[[str], UsageError]
) -> dict[str, str]:
    """A row's further columns without those that only repeat what other columns give.

    Args:
        extra: The row's further columns.
        derived: What the row's derived columns are by its others.
        wrong: Makes the error for this row.

    Raises:
        UsageError: One says something else. It would mean one thing in training, where derived
            columns count, and another in reports.
    """
    for name in DERIVED.keys() & extra.keys():
        text = extra[name].strip()
        if text not in ("", derived[name]):
            raise wrong(
                f"the column {name!r} says {legible(text[:40])}, not {legible(derived[name])!r}, "
                f"{DERIVED[name]}"
            )
    return {name: text for name, text in extra.items() if name not in DERIVED}
