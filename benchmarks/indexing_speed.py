"""Indexing a photo today, and as it was before lost data, looks and makers' notes were looked for.

    python benchmarks/indexing_speed.py FOLDER [--photos 400] [--rounds 5]

Both read every file once, hash it, decode it and take its perceptual hash, in one process and in
turns. Today's also hears what libjpeg remarks on the data, keeps the look that confirms copies,
and looks for the body's serial number in the maker's note. Processor time counts, so other work on
the machine matters little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from phototrace.photos.finding import find_photos
from phototrace.photos.perceptual import phash
from phototrace.photos.photo import read_pixels
from phototrace.photos.reading import Facts, read_file


def earlier(path: Path, sha256: str) -> None:
    """Pixels by Pillow alone, and both hashes."""
    phash(read_pixels(path, sha256=sha256))


def today(path: Path, sha256: str) -> None:
    """All that indexing keeps of a file."""
    read_file(str(path))


def main() -> None:
    """Time both in turns and print milliseconds a photo, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    every = [asked.folder / name for name in find_photos(asked.folder).paths]
    spread = every[:: max(1, len(every) // asked.photos)][: asked.photos]
    facts = [(path, read_file(str(path))) for path in spread]
    paths = [(path, found.sha256) for path, found in facts if isinstance(found, Facts)]
    ways: dict[str, Callable[[Path, str], None]] = {"earlier": earlier, "today": today}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            start = time.process_time()
            for path, sha256 in paths:
                way(path, sha256)
            spent[name].append(1000 * (time.process_time() - start) / len(paths))
    ratios = [b / a for a, b in zip(spent["earlier"], spent["today"], strict=True)]
    print(f"{len(paths)} photos, {asked.rounds} rounds in turns, ms of processor time a photo")
    for name, times in spent.items():
        print(f"{name:8} {median(times):8.2f}   ({min(times):.2f} to {max(times):.2f})")
    print(f"today / earlier {median(ratios):.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
