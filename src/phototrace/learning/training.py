"""The one training loop (paper Sec. 4 and 5.1).

Each step reads a batch a leg, sums the legs' losses, and takes one optimiser step, after which
the constraint (Eq. 4) is put back. There is no early stopping: the last epoch's weights stand.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from phototrace.errors import PhototraceError
from phototrace.learning.batches import Batch, Leg, Source, batches, read_batch, steps_per_epoch
from phototrace.learning.checkpoint import Progress, load_checkpoint, save_checkpoint
from phototrace.learning.network import Network
from phototrace.learning.optim import learning_rate, make_optimizer, set_learning_rate
from phototrace.learning.recipe import TrainingChoice
from phototrace.progress import progress as show_progress

CHECKPOINT_SECONDS = 60.0
LOG_STEPS = 20
PREDICT_BATCH = 64


class Accelerator(Protocol):
    """What the loop needs of Lightning Fabric: the device and the precision."""

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        ...


def accelerator(precision: str = "auto") -> Accelerator:
    """CUDA where it is present, else the processor; bfloat16 autocast where it pays."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    bfloat16 = takes_bfloat16(precision)
    name = "cuda" if torch.cuda.is_available() else "cpu"
    fabric: Accelerator = Fabric(
        accelerator=name, devices=1, precision="bf16-mixed" if bfloat16 else "32-true"
    )
    return fabric


def takes_bfloat16(precision: str) -> bool:
    """Whether a recipe's `precision` means bfloat16 autocast on this machine."""
    return precision == "bfloat16" or (precision == "auto" and computes_bfloat16())


def computes_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices itself, so that autocast pays."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def train(
    network: Network,
    legs: Sequence[Leg],
    choice: TrainingChoice,
    folder: Path,
    *,
    plan: str,
    preset: str = "modern",
    seed: int = 0,
) -> Progress:
    """Train `network` in place; return what happened, with one row of metrics an epoch.

    Checkpoints go to `folder/checkpoint`; where one is there, of the same `plan` (a hash of all
    choices and data), training goes on from it, with the same result as if it had never stopped.
    A TensorBoard log goes to `folder/tensorboard`. Raises `PhototraceError` where the loss is no
    longer finite; the last good checkpoint stays.
    """
    machine = accelerator(choice.precision)
    place(network, machine.device)
    optimizer = make_optimizer(network, choice, preset)
    state = load_checkpoint(folder / "checkpoint", plan, network, optimizer) or Progress()
    weights = {leg.name: leg.weight for leg in legs}
    per_epoch = steps_per_epoch(legs)
    total = per_epoch * choice.epochs
    log = _open_log(folder / "tensorboard", state.step)
    clock = _Clock(state.seconds, sum(leg.batch_size for leg in legs))

    def checkpoint() -> None:
        state.seconds = clock.seconds()
        save_checkpoint(folder / "checkpoint", plan, network, optimizer, state)

    if state.step == 0:
        checkpoint()
    saved = time.monotonic()
    stream = batches(legs, state.step, total, seed)
    for batch in show_progress(
        stream, total, "Training", done=state.step, status=lambda: _status(state, clock)
    ):
        network.batch_norm_frozen = state.step >= total * (1 - choice.freeze_batch_norm)
        rate = learning_rate(choice, state.step, per_epoch)
        set_learning_rate(optimizer, rate)
        step(network, optimizer, batch, machine, state, folder, weights)
        clock.tick()
        if state.step % LOG_STEPS == 0:
            _log_step(log, state, rate)
        if state.step % per_epoch == 0:
            _close_epoch(network, legs, machine, state, per_epoch, log)
        if time.monotonic() - saved > CHECKPOINT_SECONDS and state.step < total:
            checkpoint()
            saved = time.monotonic()
    checkpoint()
    log.close()
    return state


def step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    machine: Accelerator,
    state: Progress,
    folder: Path,
    weights: Mapping[str, float] | None = None,
) -> None:
    """One optimiser step on the sum of the legs' mean losses, then the projection.

    `weights` holds each leg's lambda_t (Eq. 6), which scales its gradient in the trunk alone.
    """
    network.train()
    optimizer.zero_grad(set_to_none=True)
    inputs = {leg: to_input(patches, machine.device) for leg, (patches, _) in batch.items()}
    with machine.autocast():
        scores = network.joint(inputs, weights or {})
    total = torch.zeros((), device=machine.device)
    for leg, (_, labels) in batch.items():
        labels = labels.to(machine.device)
        loss = mean_loss(scores[leg], labels)
        total = total + loss
        state.loss[leg] = state.loss.get(leg, 0.0) + loss.item() * len(labels)
        right = int((scores[leg].argmax(1) == labels).sum())
        state.correct[leg] = state.correct.get(leg, 0) + right
        state.seen[leg] = state.seen.get(leg, 0) + len(labels)
    if not bool(torch.isfinite(total)):
        raise PhototraceError(
            f"The loss is no longer a finite number at step {state.step + 1}. The last good "
            f"checkpoint is in {folder / 'checkpoint'}; train anew with a lower learning_rate."
        )
    total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    network.project_()
    state.step += 1


def mean_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """L_t: cross-entropy, the mean over one leg's batch, in float32 or better."""
    return F.cross_entropy(scores.to(torch.promote_types(scores.dtype, torch.float32)), labels)


def to_input(patches: Tensor, device: torch.device) -> Tensor:
    """Uint8 patches `(n, c, h, w)` as float32 with values 0..255, channels last in memory."""
    if patches.ndim != 4:  # what a trunk gave above its convolutions
        return patches.to(device)
    return patches.to(device, torch.float32, memory_format=torch.channels_last)


def place(network: Network, device: torch.device) -> Network:
    """On the device, with channels last in memory: half as fast again for these convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.inference_mode()
def predict_proba(
    network: Network,
    store: Source,
    rows: NDArray[np.int64],
    leg: str,
    machine: Accelerator,
    *,
    label: str | None = None,
) -> NDArray[np.float32]:
    """Class probabilities `(n, classes)` float32 of stored patches; `label` shows progress."""
    place(network, machine.device).eval()
    pieces = np.split(rows, range(PREDICT_BATCH, len(rows), PREDICT_BATCH))
    shown: Iterator[NDArray[np.int64]] = iter(pieces)
    if label is not None:
        shown = show_progress(pieces, len(pieces), label)
    probabilities = []
    for piece in shown:
        patches, _ = read_batch(store, piece)
        with machine.autocast():
            scores = network(to_input(patches, machine.device), leg)
        probabilities.append(F.softmax(scores.double(), dim=1).float().cpu().numpy())
    return np.concatenate(probabilities)


def _close_epoch(
    network: Network,
    legs: Sequence[Leg],
    machine: Accelerator,
    state: Progress,
    per_epoch: int,
    log: Any,
) -> None:
    """Add the epoch's figures and the accuracy on the validation part; start the next sums."""
    epoch = state.step // per_epoch
    for leg in legs:
        seen = state.seen[leg.name]
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": state.step,
            "leg": leg.name,
            "loss": state.loss[leg.name] / seen,
            "accuracy": state.correct[leg.name] / seen,
        }
        if len(leg.validation):
            guess = predict_proba(network, leg.store, leg.validation, leg.name, machine).argmax(1)
            row["validation_accuracy"] = float(np.mean(guess == leg.store.label[leg.validation]))
            log.add_scalar(
                f"{leg.name}/validation_accuracy", row["validation_accuracy"], state.step
            )
        state.metrics.append(row)
    state.loss, state.correct, state.seen = {}, {}, {}


class _Clock:
    """Time spent, interruptions left out, and patches per second of this session."""

    def __init__(self, before: float, patches_per_step: int) -> None:
        self.before, self.per_step = before, patches_per_step
        self.started, self.steps = time.monotonic(), 0

    def tick(self) -> None:
        self.steps += 1

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def patches_per_second(self) -> float:
        return self.steps * self.per_step / max(1e-9, time.monotonic() - self.started)


def _status(state: Progress, clock: _Clock) -> str:
    """Loss and accuracy of the running epoch, the last accuracy on the validation part, speed."""
    shown = [f"{clock.patches_per_second():.0f} patches/s"]
    seen = sum(state.seen.values())
    if seen:
        loss, right = sum(state.loss.values()) / seen, sum(state.correct.values()) / seen
        shown[:0] = [f"loss {loss:.3f}", f"accuracy {right:.1%}"]
    if state.metrics and "validation_accuracy" in state.metrics[-1]:
        row = state.metrics[-1]
        shown.append(f"epoch {row['epoch']}: validation {row['validation_accuracy']:.1%}")
    return ", ".join(shown)


def _open_log(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step or None)


def _log_step(log: Any, state: Progress, rate: float) -> None:
    log.add_scalar("learning_rate", rate, state.step)
    for leg, seen in state.seen.items():
        log.add_scalar(f"{leg}/loss", state.loss[leg] / seen, state.step)
        log.add_scalar(f"{leg}/accuracy", state.correct[leg] / seen, state.step)
