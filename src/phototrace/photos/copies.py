"""One file that lies or is listed several times: which row stays, and where rows contradict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from phototrace.photos.manifest import Manifest, PhotoRecord, Problem, duplicate_problem, verify
from phototrace.photos.names import CameraNames, camera_names
from phototrace.photos.photo import legible


@dataclass(frozen=True)
class Sifted:
    """Rows with each file once, and what was left out.

    Attributes:
        kept: In the order given.
        duplicates: Rows of a file that another row stands for.
        conflicts: All rows of a file that is listed under two cameras or two devices. None of them
            is kept: which label is right cannot be known, and a wrong one would train and test.
    """

    kept: tuple[PhotoRecord, ...]
    duplicates: tuple[Problem, ...] = ()
    conflicts: tuple[Problem, ...] = ()


def sift(
    rows: Sequence[PhotoRecord],
    names: CameraNames | None = None,
    is_link: Callable[[PhotoRecord], bool] = lambda row: False,
) -> Sifted:
    """Of the rows of one file keep the one that says most, or none where they contradict.

    A link says nothing of the camera where the file itself is among the rows, and is then not kept.
    Of rows that say equally much the first stays.
    """
    names = names or camera_names()
    duplicates: list[Problem] = []
    conflicts: list[Problem] = []
    left_out: set[int] = set()
    for group in _several(rows):
        real = [n for n in group if not is_link(rows[n])] or group
        clash = _clash([rows[n] for n in real], names)
        if clash:
            conflicts += [_conflict(rows[n], clash, len(group)) for n in group]
            left_out.update(group)
            continue
        stays = max(real, key=lambda n: (bool(rows[n].camera), bool(rows[n].device)))
        others = [n for n in group if n != stays]
        duplicates += [duplicate_problem(rows[n].path, rows[stays].path) for n in others]
        left_out.update(others)
    kept = tuple(row for n, row in enumerate(rows) if n not in left_out)
    return Sifted(kept, _sorted(duplicates), _sorted(conflicts))


def without_conflicts(manifest: Manifest) -> tuple[Manifest, tuple[Problem, ...]]:
    """The manifest without files that it lists under two cameras or devices, and these.

    A manifest without such files is given back as it is, copies and all.
    """
    conflicts = sift(manifest.photos).conflicts
    paths = {problem.path for problem in conflicts}
    if not paths:
        return manifest, ()
    kept = tuple(row for row in manifest.photos if row.path not in paths)
    return replace(manifest, photos=kept), conflicts


def check(manifest: Manifest, *, keep_damaged: bool = False) -> list[Problem]:
    """As `manifest.verify`, but copies that contradict in their camera or device are conflicts."""
    conflicts = sift(manifest.photos).conflicts
    named = {problem.path for problem in conflicts}
    found = verify(manifest, keep_damaged=keep_damaged)
    return [*(p for p in found if p.kind != "duplicate" or p.path not in named), *conflicts]


def _several(rows: Sequence[PhotoRecord]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.sha256, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _clash(rows: Sequence[PhotoRecord], names: CameraNames) -> list[str]:
    """What the rows call their camera or device, where that is two; unknown contradicts nothing."""
    cameras = {key for row in rows if (key := names.key(row.make, row.model))}
    devices = {row.device for row in rows if row.device}
    if len(cameras) < 2 and len(devices) < 2:
        return []
    return sorted({row.device_id for row in rows if row.camera or row.device})


def _conflict(row: PhotoRecord, clash: Sequence[str], count: int) -> Problem:
    first, second = legible(clash[0]), legible(clash[1])
    text = (
        f"{legible(row.path)} is one file that stands here {count} times, as of {first} and as of "
        f"{second}. It is left out: correct the labels, or remove one."
    )
    return Problem(row.path, "conflict", text)


def _sorted(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.path))
