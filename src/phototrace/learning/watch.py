"""What a training shows while it runs: loss, accuracy and speed, on stderr and in TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phototrace.errors import PhototraceError
from phototrace.learning.checkpoint import Progress
from phototrace.learning.tasks import Task


class Watch:
    """Looks at a training now and then.

    Args:
        folder: Of the run.
        tasks: Leg name -> its task.
        state: Where the training begins or goes on.
        patches_per_step: Of all legs.
        logs: Whether it writes to `folder / "tensorboard"`.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Mapping[str, Task],
        state: Progress,
        patches_per_step: int,
        *,
        logs: bool = True,
    ) -> None:
        self.folder, self.tasks, self.per_step = folder, tasks, patches_per_step
        self._log: Any = None
        if logs:
            from torch.utils.tensorboard import SummaryWriter

            folder = folder / "tensorboard"
            self._log = SummaryWriter(str(folder), purge_step=state.step or None)
        self.state, self.first, self.before = state, state.step, state.seconds
        self.started = time.monotonic()
        self.means: Mapping[str, tuple[float, float]] = {}

    def fetch(self, state: Progress, rate: float | None = None) -> None:
        """Fetch the running epoch's means from the device; log them where `rate` is given.

        Raises `PhototraceError` where a loss is no longer finite.
        """
        self.means = state.means()
        if not all(math.isfinite(loss) for loss, _ in self.means.values()):
            raise PhototraceError(
                f"The loss is no longer a finite number, at step {state.step} or shortly before. "
                f"The last good checkpoint is in {self.folder / 'checkpoint'}; train again with a "
                "lower learning_rate."
            )
        if rate is None:
            return
        self.log("learning_rate", rate, state.step)
        for leg, (loss, score) in self.means.items():
            self.log(f"{leg}/loss", loss, state.step)
            self.log(f"{leg}/{self.tasks[leg].metric}", score, state.step)

    def log(self, name: str, value: float, step: int) -> None:
        """Add a figure to the log, where there is one."""
        if self._log is not None:
            self._log.add_scalar(name, value, step)

    def status(self) -> str:
        """Speed, and what was last fetched: loss, score, the last epoch on the validation part."""
        steps = self.state.step - self.first
        speed = steps * self.per_step / max(1e-9, time.monotonic() - self.started)
        words = [f"{speed:.0f} patches/s"]
        for leg, (loss, score) in self.means.items():
            name = f"{leg}: " if len(self.tasks) > 1 else ""
            task = self.tasks[leg]
            words.append(f"{name}loss {loss:.3f}, {task.metric} {task.spelled(score)}")
        if self.state.metrics:
            row = self.state.metrics[-1]
            task = self.tasks[row["leg"]]
            key = f"validation_{task.metric}"
            if key in row:
                words.append(f"epoch {row['epoch']}: validation {task.spelled(row[key])}")
        return ", ".join(words)

    def seconds(self) -> float:
        """Time spent so far, interruptions left out."""
        return self.before + time.monotonic() - self.started

    def close(self) -> None:
        """Finish the log."""
        if self._log is not None:
            self._log.close()
