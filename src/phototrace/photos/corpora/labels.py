"""What a collection's layout tells of its photos, and of what is wrong with a copy of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phototrace.photos.manifest import Problem
from phototrace.photos.photo import legible


@dataclass(frozen=True)
class Labels:
    """Make, model, device and scene by the layout; "" leaves a label to EXIF, or unknown.

    `extra` becomes further columns of the manifest. Two of them mean the same in every collection:
    `variant`, which version of a photo this is in the collection's own words ("orig", "facebook"),
    and `original`, equal for all versions of one photo: these are never parted (see `bursts`).
    """

    make: str = ""
    model: str = ""
    device: str = ""
    scene: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What a corpus makes of a folder.

    Attributes:
        labels: For each path its labels, or the end of a sentence that says why it is left out.
        problems: What a whole copy would not have, of the kinds "missing" (files that should be
            there), "misnamed" (files that go by another name than in a whole copy), "repeated"
            (files of one name), "surplus" (more photos than a whole copy has) and "index" (the
            collection's own list is wrong).
        notes: Sentences: what a whole copy holds, and how this one was read.
    """

    labels: list[Labels | str]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# A corpus is a function of the collection's folder and the paths in it that should be photos,
# relative to it with forward slashes, in order; those that cannot be opened are among them. It may
# read the collection's own index files; it does not read the photos.
Corpus = Callable[[Path, Sequence[str]], Reading]


@dataclass(frozen=True)
class Shot:
    """One file of a collection that keeps several versions of each photo."""

    device: str
    number: int
    variant: str


def misnamed(path: str, name: str) -> list[Problem]:
    """The problem of a file with another stem than its `name` in a whole copy, if it has one.

    `_` and `-` count as one: mirrors and even a collection's own lists take either.
    """
    stems = (text.rpartition("/")[2].rpartition(".")[0] for text in (path, name))
    if len({stem.replace("-", "_") for stem in stems}) == 1:
        return []
    text = f"{legible(path)} is called {name} in a whole copy. It is used."
    return [Problem(path, "misnamed", text)]


def repeated(named: Iterable[tuple[str, object]]) -> list[Problem]:
    """Of (path, what it is), the paths that are what an earlier path is already."""
    first: dict[object, str] = {}
    problems = []
    for path, what in named:
        earlier = first.setdefault(what, path)
        if earlier != path:
            text = f"{legible(path)} has the name of {legible(earlier)}. They count as one photo."
            problems.append(Problem(path, "repeated", text))
    return problems


def lacking(
    shots: set[Shot],
    devices: Mapping[str, str],
    variants: Sequence[str],
    numbers: Callable[[str], Iterable[int]],
    name_of: Callable[[Shot], str],
) -> list[Problem]:
    """What is missing: whole devices, versions that are not there at all, then single files.

    Args:
        shots: What is there.
        devices: The devices of a whole copy, each with what it is called in a sentence.
        variants: The versions of each photo.
        numbers: The photos that a device should have.
        name_of: The file name of a shot.
    """
    there = Counter(shot.device for shot in shots)
    seen = {shot.variant for shot in shots}
    problems = [
        Problem(device, "missing", f"There is no photo of {device}, {camera}.")
        for device, camera in devices.items()
        if not there[device]
    ]
    problems += [
        Problem(variant, "missing", f"There is no photo of the version {variant}.")
        for variant in variants
        if variant not in seen
    ]
    for device in devices:
        wanted = numbers(device) if there[device] else ()
        for shot in (Shot(device, n, v) for n in wanted for v in variants if v in seen):
            if shot not in shots:
                name = name_of(shot)
                problems.append(Problem(name, "missing", f"{name} is not there."))
    return problems
