"""The way that training and inference went before: module by module, threads inside operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from literal import one_by_one


@contextmanager
def earlier() -> Iterator[None]:
    """Within, networks go the earlier way; memory is kept only where it is kept already."""
    learning = "phototrace.learning"
    with (
        patch(f"{learning}.network.run", one_by_one),
        patch(f"{learning}.training.lanes_of", lambda _: nullcontext()),
        patch(f"{learning}.model.lanes_of", lambda _: nullcontext()),
        patch(f"{learning}.accelerator.keep_memory", lambda: None),
    ):
        yield
