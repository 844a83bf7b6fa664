"""What a collection's layout tells of a photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Labels:
    """Make, model, device and scene by the layout; "" leaves a label to EXIF, or unknown.

    `extra` becomes further columns of the manifest.
    """

    make: str = ""
    model: str = ""
    device: str = ""
    scene: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


# A corpus is a function of the collection's folder and the paths of its photos, relative to it with
# forward slashes, in order. It gives the labels of each, or None for one to leave out. It may read
# the collection's own index files; it does not read the photos.
Corpus = Callable[[Path, Sequence[str]], list[Labels | None]]
