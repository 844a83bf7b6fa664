"""How fast patch stores are built, and that memory does not grow with them.

    python benchmarks/store_building.py PHOTOS [--size 256] [--gigabytes 2 8]

PHOTOS is a manifest. First the speed: building is timed beside the bare cost of decoding and
manipulating the same photos on the same cores, in turns. Then memory: a store of each size is
built (region and block edits of random blocks) and read at random; the peak of each worker and
of the reading process is printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from phototrace.patches import building
from phototrace.patches.manipulations import MANIPULATIONS, NamedEdits
from phototrace.patches.plan import PatchPlan, PatchSettings, plan_patches
from phototrace.photos.manifest import Manifest
from phototrace.photos.splits import make_split
from phototrace.progress import parallel_map

ROUNDS = 3
READ_BATCHES = 500


def bare(plan: PatchPlan) -> int:
    """Decode and manipulate every photo of a stretch of the plan; keep nothing."""
    count = 0
    for photo in range(len(plan.manifest.photos)):
        rows = np.flatnonzero(plan.photo == photo).tolist()
        count += len(building.cut_patches(building.photo_pixels(plan, photo), rows, plan))
    return count


def plan_of(manifest: Manifest, size: int, patches: int) -> PatchPlan:
    """A plan of about so many patches, in one part for the most."""
    split = make_split(manifest, "photo", 0, validation=0.01, test=0.01)
    everything = replace(split, part=dict.fromkeys(split.part, "train"))
    settings = PatchSettings(
        tuple(MANIPULATIONS), "manipulation", size, edits=NamedEdits(MANIPULATIONS),
        blocks="random", editing=("block", "region"),
        per_class={"train": patches // len(MANIPULATIONS)},
    )  # fmt: skip
    return plan_patches(manifest, everything, settings, parts=["train"])


def speed(manifest: Manifest, size: int) -> None:
    """Building beside the bare cost, in turns."""
    plan = plan_of(manifest, size, 24_000)
    stretches = [piece for _, _, piece in building.shards(plan)]
    list(parallel_map(bare, stretches, "Warming up"))
    bare_seconds, build_seconds = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        list(parallel_map(bare, stretches, "Bare"))
        bare_seconds.append(time.perf_counter() - started)
        with tempfile.TemporaryDirectory() as name:
            started = time.perf_counter()
            building.build_store(plan, Path(name) / "store")
            build_seconds.append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(bare_seconds, build_seconds, strict=True)]
    print(f"{len(plan)} patches of {size} px from {len(plan.manifest.photos)} photos")
    print(f"decoding and manipulating alone: {len(plan) / median(bare_seconds):.0f} patches/s")
    print(f"building the store:              {len(plan) / median(build_seconds):.0f} patches/s")
    print(f"speed of building, share of the bare: {median(ratios):.0%} "
          f"({min(ratios):.0%} to {max(ratios):.0%})")  # fmt: skip


def memory(manifest: Manifest, size: int, gigabytes: float) -> None:
    """Build and read a store of a size; print the peaks."""
    plan = plan_of(manifest, size, int(gigabytes * 1e9 / size**2))
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        store = building.build_store(plan, Path(name) / "store")
        seconds = time.perf_counter() - started
        stored = sum(path.stat().st_size for path in store.folder.glob("*.npy"))
        before = _anonymous_megabytes()
        rng = np.random.default_rng(0)
        started = time.perf_counter()
        for _ in range(READ_BATCHES):
            store.read(rng.integers(0, len(store), 40))
        rate = 40 * READ_BATCHES / (time.perf_counter() - started)
        after = _anonymous_megabytes()
    peak = _peak_of_workers()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{stored / 1e9:.1f} GB, {len(plan)} patches: built in {seconds:.0f} s; this process at "
          f"most {own:.0f} MiB, any worker {peak:.0f} MiB; reading at random {rate:.0f} "
          f"patches/s, own memory {before:.0f} MiB before and {after:.0f} MiB after")  # fmt: skip


def _anonymous_megabytes() -> float:
    return _status(Path("/proc/self"))["RssAnon"] / 1024


def _peak_of_workers() -> float:
    """Most memory that any of this process's children ever held, in MiB."""
    statuses = [_status(folder) for folder in Path("/proc").glob("[0-9]*")]
    peaks = [s["VmHWM"] for s in statuses if s.get("PPid") == os.getpid() and "VmHWM" in s]
    return max(peaks, default=0) / 1024


def _status(folder: Path) -> dict[str, int]:
    """The numbers of a process's status; sizes are in KiB."""
    try:
        lines = (folder / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [line.split()[:2] for line in lines if len(line.split()) > 1]
    return {name.rstrip(":"): int(value) for name, value in pairs if value.isdigit()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[2, 8])
    asked = parser.parse_args()
    manifest = Manifest.load(asked.photos)
    speed(manifest, asked.size)
    for gigabytes in asked.gigabytes:
        memory(manifest, asked.size, gigabytes)


if __name__ == "__main__":
    main()
