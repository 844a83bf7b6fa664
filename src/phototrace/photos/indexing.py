"""Make a manifest of a folder of photos, or complete one that exists."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from phototrace.errors import PhotoError, UsageError
from phototrace.photos.bursts import find_bursts, reset_clocks
from phototrace.photos.content import RAW
from phototrace.photos.copies import sift, without_conflicts
from phototrace.photos.corpora import COLLECTIONS, CORPORA, Labels, Reading
from phototrace.photos.finding import Found, find_photos
from phototrace.photos.labelling import Labelling
from phototrace.photos.manifest import (
    Manifest,
    PhotoRecord,
    Problem,
    changed_problem,
    is_kept_damaged,
)
from phototrace.photos.names import TABLE, camera_names, near_names
from phototrace.photos.photo import legible, lost_a_part
from phototrace.photos.reading import Facts, read_all, without_shared_serials

_ENDINGS = (".csv", ".parquet")
_LISTED = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexResult:
    """What indexing found. Every file that is not in the manifest is listed once, with why.

    Attributes:
        manifest: The photos that can be read, each once.
        broken: Photos that are missing, changed or unreadable.
        skipped: Files that are no photos, are hidden, or do not belong to the corpus.
        duplicates: Photos with the same bytes as one that is kept.
        collection: What is missing, misnamed or otherwise unlike a whole copy of the collection.
        notes: Sentences: what a whole copy of the collection holds, how this one was read, which
            cameras may be named in two ways, serial numbers and times that name no device or burst.
        conflicts: Photos of which copies lie or are listed under two cameras or two devices.
        contradictions: Photos whose EXIF names another camera than their folder.
        listed: All photos that can be read, with copies and conflicts.
        just_read: Whether every file was read for this, and not taken from a manifest.
    """

    manifest: Manifest
    broken: tuple[Problem, ...] = ()
    skipped: tuple[Problem, ...] = ()
    duplicates: tuple[Problem, ...] = ()
    collection: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    conflicts: tuple[Problem, ...] = ()
    contradictions: tuple[Problem, ...] = ()
    listed: tuple[PhotoRecord, ...] = ()
    just_read: bool = False


def index(
    source: Path | Manifest,
    corpus: str = "auto",
    out: Path | None = None,
    *,
    keep_damaged: bool = False,
) -> IndexResult:
    """Decode every photo once and list it with its labels, quantisation tables, hash and burst.

    The columns `phash`, `look`, `body` (the serial number that EXIF says), `taken` and `taken_from`
    (what the time is by: see `Photo`) are added to the manifest's own. Photos that belong together
    share a `burst` (see `bursts.find_bursts`), others have none. Work goes on all cores; what was
    finished before an interruption is not done again (a journal beside `out` keeps it). The result
    depends neither on the number of cores nor on interruptions.

    Args:
        source: A folder, looked through to its depth; or a manifest or its file: what it lists is
            checked, and missing columns are added, while all that it says is kept. It needs no
            hashes.
        corpus: How the folder is read: a name in `corpora.CORPORA`.
        out: Manifest to write (`.csv` or `.parquet`); its paths are relative to its folder.
        keep_damaged: List JPEG that have lost data with the photos, not as broken; the column
            `damage` has libjpeg's words. A manifest's rows that have some there are kept anyway.

    Raises:
        UsageError: The source is neither, holds no photos, or `corpus` or `out` is wrong.
    """
    if out is not None:
        _check_out(out, source)
    journal = out.parent / f".{out.name}.journal" if out is not None else None
    if isinstance(source, Manifest) or is_manifest(source := Path(source)):
        given = source if isinstance(source, Manifest) else Manifest.load(source, hashed=False)
        rows, found, reading = list(given.photos), Found(), Reading([])
        labelling = Labelling("", camera_names(given.root))
        root = given.root
    else:
        own_table = source / TABLE
        leave_out = frozenset(os.path.abspath(path) for path in (out, journal, own_table) if path)
        found = find_photos(source, leave_out)
        (rows, reading), root = _labelled(source, corpus, found), source
        labelling = Labelling(corpus, camera_names(source))
    if not rows and not found.broken and not any(p.text.endswith(RAW) for p in found.skipped):
        where = source.root if isinstance(source, Manifest) else source
        raise UsageError(f"There are no photos in {legible(where)}. {_left_out(found.skipped)}")
    if journal is not None:
        journal.parent.mkdir(parents=True, exist_ok=True)
    folder = os.path.abspath(root)
    results = read_all([os.path.join(folder, row.path) for row in rows], journal)
    results, shared = without_shared_serials(results)
    listed, problems = _complete(rows, folder, results, labelling, keep_damaged)
    sifted = sift(listed, labelling.names, _links_below(folder))
    photos, clocks = _with_bursts(sifted.kept)
    manifest = Manifest(tuple(photos), root)
    if out is not None and journal is not None:
        manifest = manifest.save(out)
        journal.unlink(missing_ok=True)
    broken = sorted([*found.broken, *problems], key=lambda problem: problem.path)
    return IndexResult(
        manifest, tuple(broken), tuple(found.skipped), sifted.duplicates,
        tuple(reading.problems),
        (*reading.notes, *labelling.on_unknown(photos), *labelling.notes, *shared, *clocks,
         *_on_other_times(photos)),
        sifted.conflicts, tuple(labelling.contradictions), tuple(listed), just_read=True,
    )  # fmt: skip


def survey(path: Path, corpus: str = "auto", *, keep_damaged: bool = False) -> IndexResult:
    """The photos of a manifest or folder for use now, with what is wrong with them.

    A folder is indexed and nothing written. A manifest is taken at its word: its files are not
    opened, and its copies stay. Of both, photos that stand under two cameras or devices are left
    out and listed, and names that may mean one camera are noted.

    With `keep_damaged`, JPEG that have lost data count as photos; those of a manifest are not
    looked at for that, and all are marked as kept (column `damage`).

    Raises:
        UsageError: As by `Manifest.load` and `index`.
        PhotoError: The folder holds photos, but none of them can be used.
    """
    if not is_manifest(path):
        result = index(path, corpus, keep_damaged=keep_damaged)
        if not result.manifest.photos:
            first = next(iter((*result.broken, *result.conflicts)), None)
            if first is None:
                left_out = _left_out(result.skipped)
                raise UsageError(f"There are no photos in {legible(path)}. {left_out}")
            raise PhotoError(f"None of the photos in {legible(path)} can be used. {first.text}")
        return result
    given = _all_kept(Manifest.load(path)) if keep_damaged else Manifest.load(path)
    kept, conflicts = without_conflicts(given)
    cameras = ((p.make, p.model, p.device) for p in given.photos)
    notes = near_names(cameras, camera_names(given.root))
    return IndexResult(kept, notes=tuple(notes), conflicts=conflicts, listed=given.photos)


def read_photos(path: Path, corpus: str = "auto", *, keep_damaged: bool = False) -> Manifest:
    """The manifest of `survey`; what that says of the photos goes to the log as warnings.

    Raises:
        UsageError, PhotoError: As by `survey`.
    """
    result = survey(path, corpus, keep_damaged=keep_damaged)
    for text in result.notes:
        _log.warning("%s", text)
    for what, problems in (
        ("could not be read", result.broken),
        ("are copies of others and left out", result.duplicates),
        ("stand under two cameras or devices and are left out", result.conflicts),
        ("are by their EXIF of another camera than is said of them", result.contradictions),
    ):
        if problems:
            _log.warning("%d %s:", len(problems), what)
        for problem in problems[:_LISTED]:
            _log.warning("  %s", problem.text)
    return result.manifest


def _left_out(skipped: Sequence[Problem]) -> str:
    if not skipped:
        return "Check the path."
    return f"{len(skipped)} files are left out; the first: {skipped[0].text}"


def _all_kept(manifest: Manifest) -> Manifest:
    kept = (
        p if is_kept_damaged(p) else replace(p, extra={**p.extra, "damage": "not looked at"})
        for p in manifest.photos
    )
    return replace(manifest, photos=tuple(kept))


def is_manifest(path: Path) -> bool:
    """Whether `path` is a manifest by its name, and not a folder."""
    return path.suffix.lower() in _ENDINGS and not path.is_dir()


def _check_out(out: Path, source: Path | Manifest) -> None:
    if out.suffix.lower() not in _ENDINGS:
        raise UsageError(f"A manifest's name ends in .csv or .parquet, not as {legible(out)}.")
    if not isinstance(source, Manifest) and os.path.realpath(out) == os.path.realpath(source):
        raise UsageError(
            f"{legible(out)} is the manifest that is read; photos that fail would be lost from it. "
            "Name another file to write."
        )


def _labelled(source: Path, corpus: str, found: Found) -> tuple[list[PhotoRecord], Reading]:
    """Rows with what the layout tells; those the corpus leaves out are noted as skipped."""
    if corpus not in CORPORA:
        raise UsageError(f"There is no corpus {corpus!r}. Choose one of: {', '.join(CORPORA)}.")
    # What cannot be opened is there all the same: it is broken, not missing.
    paths = [*found.paths, *(problem.path for problem in found.broken)]
    reading = CORPORA[corpus](source, paths)
    read = dict(zip(found.paths, reading.labels[: len(found.paths)], strict=True))
    rows = [_row(path, corpus, label) for path, label in read.items() if isinstance(label, Labels)]
    left_out = {path: reason for path, reason in read.items() if isinstance(reason, str)}
    if corpus not in COLLECTIONS:
        known = _elsewhere(source, corpus, paths)
        if 2 * len(known) > len(paths):
            text = "{} of {} files are named as in a public collection. The first, {}:{}"
            first = next(iter(known))
            reading.notes.append(text.format(len(known), len(paths), legible(first), known[first]))
    hints = _elsewhere(source, corpus, list(left_out))
    if left_out and not rows:
        path, reason = next(iter(left_out.items()))
        raise UsageError(
            f"None of the {len(left_out)} photos in {legible(source)} belongs to the corpus "
            f"{corpus}: {legible(path)} {reason}{hints.get(path, ' Choose another with --corpus.')}"
        )
    for path, reason in left_out.items():
        text = f"{legible(path)} {reason}{hints.get(path, '')}"
        found.skipped.append(Problem(path, "skipped", text))
    return rows, reading


def _elsewhere(source: Path, corpus: str, paths: list[str]) -> dict[str, str]:
    """For paths that a corpus left out, a sentence if another collection knows them."""
    hints: dict[str, str] = {}
    for name, other in COLLECTIONS.items():
        if paths and name != corpus:
            labels = zip(paths, other(source, paths).labels, strict=True)
            text = f" It looks like one of {name}: index that apart with --corpus {name}."
            hints |= {path: text for path, label in labels if isinstance(label, Labels)}
    return hints


def _row(path: str, corpus: str, label: Labels) -> PhotoRecord:
    return PhotoRecord(
        "", path, "", label.make, label.model, label.device, label.scene,
        corpus=corpus, extra=dict(label.extra),
    )  # fmt: skip


def _complete(
    rows: list[PhotoRecord],
    folder: str,
    results: Mapping[str, Facts | Problem],
    labelling: Labelling,
    keep_damaged: bool,
) -> tuple[list[PhotoRecord], list[Problem]]:
    """Rows with the facts of their files and their labels, and the problems of the others."""
    listed: list[PhotoRecord] = []
    problems: list[Problem] = []
    for row in rows:
        facts = results[os.path.join(folder, row.path)]
        if isinstance(facts, Problem):
            problems.append(replace(facts, path=row.path))
        elif row.sha256 not in ("", facts.sha256):
            problems.append(replace(changed_problem(Path(row.path)), path=row.path))
        elif facts.damage and not keep_damaged and not is_kept_damaged(row):
            problems.append(Problem(row.path, "unreadable", lost_a_part(row.path, facts.damage)))
        else:
            listed.append(_with_facts(labelling.label(row, facts), facts))
    return labelling.finished(listed), problems


def _links_below(folder: str) -> Callable[[PhotoRecord], bool]:
    """Whether a row's path leads over a link, below `folder`."""
    real = os.path.realpath(folder)

    def is_link(row: PhotoRecord) -> bool:
        path = os.path.normpath(os.path.join(real, row.path))
        return os.path.realpath(path) != path

    return is_link


def _with_facts(row: PhotoRecord, facts: Facts) -> PhotoRecord:
    """The row, filled from the file where it says nothing; what it says is kept."""
    return replace(
        row,
        id=facts.sha256[:16],
        sha256=facts.sha256,
        width=facts.width,
        height=facts.height,
        qtables=row.qtables or facts.qtables,
        extra={
            **row.extra,
            **facts.traces(),
            **_time(row, facts),
            **({"damage": facts.damage} if facts.damage else {}),
        },
    )


def _time(row: PhotoRecord, facts: Facts) -> dict[str, str]:
    given = row.extra.get("taken", "")
    return {
        "taken": given or facts.taken,
        "taken_from": row.extra.get("taken_from", "") if given else facts.taken_from,
    }


def _with_bursts(photos: Sequence[PhotoRecord]) -> tuple[Sequence[PhotoRecord], list[str]]:
    """Bursts are found unless the manifest already names some; a note on clocks that were reset."""
    if any(photo.burst for photo in photos):
        return photos, []
    bursts = find_bursts(photos)
    named = [replace(photo, burst=bursts.get(photo.id, "")) for photo in photos]
    return named, _on_reset_clocks(photos)


def _on_other_times(photos: Sequence[PhotoRecord]) -> list[str]:
    """One note on times that are not those of DateTimeOriginal."""
    named = {"digitized": "DateTimeDigitized", "modified": "DateTime"}
    found = Counter(photo.extra.get("taken_from", "") for photo in photos)
    counts = [f"{found[by]} is {tag}" for by, tag in named.items() if found[by]]
    if not counts:
        return []
    total = sum(found[by] for by in named)
    return [f"{total} photos have no DateTimeOriginal: the time of {', of '.join(counts)}."]


def _on_reset_clocks(photos: Sequence[PhotoRecord]) -> list[str]:
    """One note on the devices whose photos all carry one time."""
    reset = reset_clocks(photos)
    if not reset:
        return []
    device, time = min(reset.items())
    count = sum(photo.device_id == device for photo in photos)
    more = f", and those of {len(reset) - 1} more one each" if len(reset) > 1 else ""
    return [
        f"The {count} photos of {legible(device)} all carry the time {time}{more}: "
        "a clock that was reset. "
        "Such a time makes no burst; photos that look alike still do."
    ]
