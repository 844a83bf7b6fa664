"""Messages and progress, and work spread over the processor's cores.

A library does not print. Messages, and a line every 15 seconds of long work, go to the logger
"phototrace" at level INFO, which shows nothing by itself. `on_stderr` shows them, as the command
line does, and on a terminal a bar in place of the lines:

    with on_stderr():
        reproduce(recipe, photos, out)

Warnings, such as photos that cannot be read, are shown by Python wherever logging is not set up.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_BAR_AFTER_SECONDS = 2.0
_LINE_SECONDS = 15.0
_REDRAW_SECONDS = 0.1
_log = logging.getLogger(__name__)
_package = logging.getLogger("phototrace")


class _OnStderr(logging.Handler):
    """Bare messages on what stderr is at the moment: a bar puts its own in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


_on_stderr = _OnStderr()


@contextmanager
def on_stderr() -> Iterator[None]:
    """Show messages and progress on stderr meanwhile."""
    if is_shown():
        yield
        return
    level = _package.level
    _package.addHandler(_on_stderr)
    _package.setLevel(logging.INFO)
    try:
        yield
    finally:
        _package.setLevel(level)
        _package.removeHandler(_on_stderr)


def is_shown() -> bool:
    """Whether messages and progress are shown on stderr."""
    return _on_stderr in _package.handlers


@contextmanager
def in_silence() -> Iterator[None]:
    """Show nothing meanwhile, for one of several processes that do the same."""
    shown = is_shown()
    _package.removeHandler(_on_stderr)
    try:
        yield
    finally:
        if shown:
            _package.addHandler(_on_stderr)


def say(text: str) -> None:
    """A sentence about what is being done, for the log."""
    _log.info("%s", text)


def progress(
    items: Iterable[Item],
    total: int,
    label: str,
    *,
    done: int = 0,
    status: Callable[[], str] = lambda: "",
) -> Generator[Item, None, None]:
    """Pass `items` on while the log, or a bar, tells how far it is and how long it takes still.

    The log gets a line every 15 seconds. Within `on_stderr`, and on a terminal, a bar appears
    after two seconds instead. `done` is what an interrupted work had behind it; `status` is
    asked for a few words to show.
    """
    if not is_shown() or not sys.stderr.isatty():
        yield from _lines(items, total, label, done, status)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns, TextColumn("{task.fields[status]}"), console=Console(stderr=True), transient=True
    )
    task = bar.add_task(label, total=total, completed=done, status="")
    shown = started = time.monotonic()
    try:
        for count, item in enumerate(items, start=done + 1):
            yield item
            now = time.monotonic()
            if now - shown > _REDRAW_SECONDS:
                bar.update(task, completed=count, status=status())
                shown = now
            if not bar.live.is_started and now - started > _BAR_AFTER_SECONDS:
                bar.start()
    finally:
        if bar.live.is_started:
            bar.stop()


def _lines(
    items: Iterable[Item], total: int, label: str, done: int, status: Callable[[], str]
) -> Iterator[Item]:
    shown = started = time.monotonic()
    for count, item in enumerate(items, start=done + 1):
        yield item
        now = time.monotonic()
        if now - shown > _LINE_SECONDS:
            left = (now - started) / (count - done) * (total - count)
            words = [f"{label}: {count} of {total}", status(), f"{_clock(left)} left"]
            say(", ".join(filter(None, words)))
            shown = now


def _clock(seconds: float) -> str:
    return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d}:{int(seconds % 60):02d}"


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], label: str
) -> Iterator[Result]:
    """Results of `function` in the order of `items`, computed on all cores, with progress.

    The backend is joblib's: `with joblib.parallel_config("dask")` spreads the work further.
    `function` must be importable (a module-level function or a `functools.partial` of one).
    """
    if len(items) < 2:
        yield from progress((function(item) for item in items), len(items), label)
        return
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=-1, return_as="generator")(delayed(function)(item) for item in items)
    yield from progress(results, len(items), label)


def dismiss_workers() -> None:
    """End the workers that `parallel_map` keeps for its next call.

    A process that multiprocessing started would wait minutes for them before it ends.
    """
    if "joblib" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)
