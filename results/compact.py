"""Stored predictions made smaller: only the predicted class of each patch is kept.

    python results/compact.py FILE.parquet ...     # files of predictions
    python results/compact.py FOLDER ...           # finished studies: all that study.json lists
    python results/compact.py --half FILE ...      # probabilities rounded to half precision

What can be worked out from them no longer is log loss, calibration and decisions on photos; see
`phototrace.evidence.predictions`. Each table keeps the hash of the full one it was made from, and a
study's records keep both, so `phototrace reproduce STUDY --check --out FOLDER` still holds. What is
compact already is left as it is. With `--half` a table stays whole, at little more than half its
size: probabilities are rounded to float16 and every named class stays.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from phototrace.errors import DamagedError
from phototrace.evidence.predictions import Predictions
from phototrace.files import write_json
from phototrace.study.results import LEDGER, Answers


def compact_file(path: Path) -> Predictions:
    """Make one file compact; what it now holds."""
    table = Predictions.load(path)
    small = table.compact()
    if small is not table:
        small.save(path)
    return small


def halve_file(path: Path) -> None:
    """Round a file's probabilities to float16, but for patches whose named class would change.

    Files keep them as float32, whose empty bytes take no room.
    """
    table = Predictions.load(path)
    rounded = table.chances.astype(np.float16).astype(np.float32)
    moved = np.argmax(rounded, axis=1) != table.predicted
    rounded[moved] = table.chances[moved]
    replace(table, probabilities=rounded).save(path)


def compact_study(folder: Path) -> None:
    """Make all predictions of a finished study compact, and list their new hashes.

    Stopped half-way, it can be run again.

    Raises:
        DamagedError: a file is not what the study lists; files before it are compact by then.
    """
    ledger = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    for record in ledger["answers"]:
        path = folder / record["file"]
        if Predictions.load(path).full_hash != record["predictions_hash"]:
            raise DamagedError(f"{path} is not what {LEDGER} lists. Run the study again.")
        record["compact_hash"] = compact_file(path).hash
        _note(path.with_suffix(".json"), record["compact_hash"])
    write_json(folder / LEDGER, ledger)
    Answers.load(folder)


def _note(path: Path, compact_hash: str) -> None:
    """Add the hash to the record that a run keeps beside each file, where there is one."""
    if path.is_file():
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, {**record, "compact_hash": compact_hash})


def main() -> None:
    """Make what is named compact, and say how much smaller it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--half", action="store_true")
    parser.add_argument("paths", type=Path, nargs="+")
    asked = parser.parse_args()
    for path in asked.paths:
        before = _size(path)
        if asked.half:
            halve_file(path)
        elif path.is_dir():
            compact_study(path)
        else:
            compact_file(path)
        print(f"{path}: {before / 1e6:.2f} MB, now {_size(path) / 1e6:.2f} MB")


def _size(path: Path) -> int:
    files = path.rglob("*.parquet") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
