"""The way that training and inference went before: module by module, threads inside operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from torch import Tensor, nn


def run(stages: Sequence[nn.Module], x: Tensor) -> Tensor:
    """What `stages` give by their own definition."""
    for stage in stages:
        x = stage(x)
    return x


@contextmanager
def earlier() -> Iterator[None]:
    """Within, networks go the earlier way; memory is kept only where it is kept already."""
    learning = "phototrace.learning"
    with (
        patch(f"{learning}.network.run", run),
        patch(f"{learning}.training.lanes_of", lambda _: nullcontext()),
        patch(f"{learning}.model.lanes_of", lambda _: nullcontext()),
        patch(f"{learning}.accelerator.keep_memory", lambda: None),
    ):
        yield
