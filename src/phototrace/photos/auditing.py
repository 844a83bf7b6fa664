"""Everything that is wrong with photos before they are used: files, copies, conflicts and leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from phototrace.errors import UsageError
from phototrace.photos.audit import Leak, audit, split_from_column
from phototrace.photos.copies import check
from phototrace.photos.indexing import IndexResult
from phototrace.photos.manifest import Manifest, Problem
from phototrace.photos.splits import Split

PART = "part"
"""The column of a split made by hand, in any case."""


@dataclass(frozen=True)
class Audited:
    """What was found.

    Attributes:
        photos: How many there are, those that cannot be read included.
        split: Whose leaks were looked for; None where there are no parts.
        problems: Broken files, copies and conflicts.
        leaks: Between the parts, or repetitions where there are none.
        notes: On the split, in sentences.
    """

    photos: int
    split: Split | None
    problems: Sequence[Problem]
    leaks: Sequence[Leak]
    notes: Sequence[str]


def audit_photos(
    found: IndexResult, by: str | None = None, *, keep_damaged: bool = False
) -> Audited:
    """Audit a folder's or manifest's photos, by the split in its column `part` where it has one.

    Args:
        found: The photos (`indexing.survey`).
        by: What that split promises to keep apart; "photo" where none is named.
        keep_damaged: Take JPEG that have lost data.

    Raises:
        UsageError: There is no photo, the column says what is no part, or `by` is without a split.
    """
    manifest = replace(found.manifest, photos=found.listed)
    if not manifest.photos:
        raise UsageError(f"{manifest.root} lists no photos. Index a folder with photos.")
    column = next((c for c in manifest.columns if c.strip().lower() == PART), PART)
    hand_made = any(r.extra.get(column, "").strip() for r in manifest.photos)
    if by and not hand_made:
        raise UsageError(
            "--by needs a manifest whose column 'part' says train, validation or test."
        )
    split = split_from_column(manifest, column, by=by or "photo") if hand_made else None
    return audited(found, manifest, split, split.notes if split else (), keep_damaged=keep_damaged)


def audited(
    found: IndexResult,
    manifest: Manifest,
    split: Split | None,
    notes: Sequence[str],
    of_trunk: Sequence[Leak] = (),
    *,
    keep_damaged: bool = False,
) -> Audited:
    """Look at every file of `manifest`, unless `found` has just done so, and for leaks.

    `of_trunk` are leaks that are known already. What cannot be read is not compared.
    """
    if found.just_read:
        problems = [*found.broken, *found.duplicates, *found.conflicts]
    else:
        checked = check(manifest, keep_damaged=keep_damaged)
        problems = list(dict.fromkeys([*checked, *found.conflicts]))
    bad = {p.path for p in problems if p.kind not in ("duplicate", "conflict")}
    sound = replace(manifest, photos=tuple(r for r in manifest.photos if r.path not in bad))
    photos = len({r.path for r in manifest.photos} | bad)
    return Audited(photos, split, problems, [*audit(sound, split), *of_trunk], notes)
