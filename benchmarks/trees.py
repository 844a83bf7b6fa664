"""Extremely randomised trees: time, memory, file size, and equality to scikit-learn's.

    python benchmarks/trees.py [--rows 50000 400000] [--trees 800 24] [--beside 40]

Rows are made up: 200 numbers like a network's after tanh, of 20 classes that overlap. Each size is
grown in a process of its own, whose peak memory is printed. From fewer trees than 800 the peak
of all 800 is extrapolated: what compact trees take is proportional to their number (nearly twice
as much while they are joined), and scikit-learn's form holds one block at any time. `--beside`
trees are grown by scikit-learn as well, timed, and their predictions compared.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from phototrace.learning.classifiers import load_classifier, save_classifier
from phototrace.learning.trees import ExtraTrees

CLASSES, WIDTH, HIDDEN, NEW, WHOLE = 20, 200, 32, 10_000, 800


def made_up(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features `(n, 200)` float32 in -1..1 and labels `(n,)`."""
    fixed, rng = np.random.default_rng(5), np.random.default_rng(seed)
    centres, mixing = fixed.normal(size=(CLASSES, HIDDEN)), fixed.normal(size=(HIDDEN, WIDTH))
    labels = rng.integers(0, CLASSES, n)
    rows = np.empty((n, WIDTH), dtype=np.float32)
    for start in range(0, n, NEW):
        some = labels[start : start + NEW]
        hidden = centres[some] + rng.normal(size=(len(some), HIDDEN))
        noise = 0.3 * rng.normal(size=(len(some), WIDTH))
        rows[start : start + NEW] = np.tanh(0.3 * hidden @ mixing + noise)
    return rows, labels


def peak() -> float:
    """Most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(n: int, trees: int, beside: int) -> None:
    """Grow, store, load and predict; print what it took."""
    rows, labels = made_up(n, 1)
    new, truth = made_up(NEW, 2)
    before = peak()
    started = time.perf_counter()
    classifier = ExtraTrees(trees, random_state=3).fit(rows, labels)
    seconds, highest = time.perf_counter() - started, peak()
    forest = classifier.forest_
    compact = sum(array.nbytes for array in forest.arrays().values())
    print(f"{n} rows, {trees} trees: grown in {seconds:.0f} s, {forest.nodes / trees:.0f} nodes a "
          f"tree; peak {highest:.2f} GiB ({before:.2f} before)")  # fmt: skip
    if trees < WHOLE:
        more = 2 * (WHOLE - trees) * compact / trees / 2**30
        print(f"  {WHOLE} trees: at most {highest + more:.2f} GiB, extrapolated, "
              f"in {seconds * WHOLE / trees / 60:.0f} min")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "classifier.safetensors"
        facts = save_classifier(classifier, path)
        size = path.stat().st_size
        started = time.perf_counter()
        loaded = load_classifier(path, facts)
    print(f"  file {size / 1e6:.1f} MB, {size / forest.nodes:.2f} bytes a node; read and checked "
          f"in {time.perf_counter() - started:.1f} s")  # fmt: skip
    started = time.perf_counter()
    chances = loaded.predict_proba(new)
    print(f"  {NEW} rows predicted in {time.perf_counter() - started:.1f} s, "
          f"{np.mean(chances.argmax(1) == truth):.1%} right")  # fmt: skip
    if beside:
        started = time.perf_counter()
        theirs = ExtraTreesClassifier(beside, min_samples_split=3, n_jobs=-1, random_state=3)
        theirs.fit(rows, labels)
        grown = time.perf_counter() - started
        started = time.perf_counter()
        expected = theirs.predict_proba(new)
        predicted = time.perf_counter() - started
        started = time.perf_counter()
        ours = ExtraTrees(beside, random_state=3).fit(rows, labels)
        own = time.perf_counter() - started
        started = time.perf_counter()
        difference = np.abs(ours.predict_proba(new) - expected).max()
        print(f"  {beside} trees: grown by scikit-learn in {grown:.1f} s, here {own:.1f} s; "
              f"predicted in {predicted:.2f} and {time.perf_counter() - started:.2f} s, largest "
              f"difference {difference:.1e}")  # fmt: skip


def main() -> None:
    """Measure each size in its own process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 400_000])
    parser.add_argument("--trees", type=int, nargs="+", default=[WHOLE, 24])
    parser.add_argument("--beside", type=int, default=40)
    asked = parser.parse_args()
    for n, trees in zip(asked.rows, asked.trees, strict=True):
        process = get_context("spawn").Process(target=measure, args=(n, trees, asked.beside))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
