"""What the end of an epoch adds to the record: means, and figures on the validation part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phototrace.learning.accelerator import Accelerator
from phototrace.learning.batches import Leg
from phototrace.learning.checkpoint import Progress
from phototrace.learning.model import BATCH, answers
from phototrace.learning.network import Network
from phototrace.learning.processes import rank
from phototrace.learning.watch import Watch


def close_epoch(
    network: Network,
    legs: Sequence[Leg],
    machine: Accelerator,
    state: Progress,
    per_epoch: int,
    watch: Watch,
) -> None:
    """Add the epoch's figures, also those on the validation part; start the next sums.

    Of several processes the first alone validates.
    """
    means = state.means()
    for leg in legs:
        loss, score = means[leg.name]
        row: dict[str, Any] = {
            "epoch": state.step // per_epoch,
            "step": state.step,
            "leg": leg.name,
            "loss": loss,
            leg.task.metric: score,
        }
        if len(leg.validation) and rank() == 0:
            key = f"validation_{leg.task.metric}"
            row[key] = validated(network, leg, machine)
            watch.log(f"{leg.name}/{key}", row[key], state.step)
        state.metrics.append(row)
    state.sums = {}
    network.train()


def validated(network: Network, leg: Leg, machine: Accelerator) -> float:
    """`Task.figure` of a leg on its validation part, all its patches."""
    assert leg.store is not None
    rows = np.split(leg.validation, range(BATCH, len(leg.validation), BATCH))
    pieces: Iterator[NDArray[Any]] = (leg.store.read(piece) for piece in rows)
    said = np.concatenate(list(answers(network, pieces, machine, leg.name, leg.task)))
    return leg.task.figure(said, leg.held_labels)
