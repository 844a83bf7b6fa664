"""Several processes that train one network together, each on its share of every batch.

N processes with b/N patches of each leg make the step that one makes with b. Every leg's loss is
weighed by the share of its labels that a process has, and gradients are averaged. Batch norms alone
differ: a process normalises by the statistics of its own patches, and running averages are averaged
over processes as the paper averages them over tasks (Sec. 4.2).

Lightning Fabric starts the processes, or joins those that torchrun has started, and says where each
computes. They meet in the default group of `torch.distributed`. Who is not in one is alone, and is
the first.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import joblib
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException
from torch.nn.modules.batchnorm import _BatchNorm

from phototrace.errors import PhototraceError, UsageError
from phototrace.learning.accelerator import DeviceName, Precision, accelerator, keep_memory, kind
from phototrace.progress import dismiss_workers, in_silence, is_shown, on_stderr

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Here, for a process that Fabric starts imports this before it would tell of its start. Fabric sets
# the level of its topmost logger when it is imported, but of no other.
logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)
Result = TypeVar("Result")
PATIENCE = timedelta(days=7)
"""How long a process waits for the first, which cuts patches and validates alone. Whoever started
the processes notices one that has ended at once, and ends the others."""


class LostError(PhototraceError):
    """Another process of the training has ended."""


def rank() -> int:
    """The number of this process; the first is 0."""
    return dist.get_rank() if _grouped() else 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _grouped() else 1


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


def team(precision: Precision, device: DeviceName = "auto", devices: int = 1) -> Fabric:
    """Where this process computes, as one of those that torchrun has started or `devices` here.

    The former meet at once, the latter are started by `together`. Raises `UsageError` where there
    are fewer devices, or processor cores, than processes on this machine.
    """
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    started = _by_torchrun()
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if started else devices
    _require_devices(kind(device), here)
    if started and devices not in (1, here):
        raise UsageError(f"torchrun has started {here} processes here: leave --devices out.")
    if not started and devices == 1:
        return accelerator(precision, device)
    fabric = accelerator(
        precision, device, devices=here,
        num_nodes=int(os.environ["WORLD_SIZE"]) // here if started else 1,
        strategy=DDPStrategy(
            cluster_environment=TorchElasticEnvironment() if started else LightningEnvironment(),
            start_method="popen" if started else "spawn",
            timeout=PATIENCE,
        ),
    )  # fmt: skip
    if started:
        fabric.launch()
    return fabric


def _by_torchrun() -> bool:
    return dist.is_available() and dist.is_torchelastic_launched()


def _require_devices(name: str, wanted: int) -> None:
    there = torch.cuda.device_count() if name == "cuda" else joblib.cpu_count()
    if not 1 <= wanted <= there:
        what = "CUDA devices" if name == "cuda" else "processor cores"
        raise UsageError(
            f"{wanted} processes cannot train here: there are {there} {what}. Choose --devices "
            f"from 1 to {there}."
        )


def together(fabric: Fabric, work: Callable[[Fabric], Result]) -> Result | None:
    """What `work` gives, done in every process of a `team`; None where it started them itself.

    Where a process fails or is killed, all end, and its error is raised.
    """
    if fabric.world_size == 1 or _by_torchrun():
        with nullcontext() if rank() == 0 else in_silence():
            return work(fabric)
    try:
        pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"This cannot be sent to other processes: {error}. A backbone of your own must be a "
            "function of a module."
        ) from None
    # Its warnings are about processes that this ends with a sentence.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    told = multiprocessing.get_context("spawn").SimpleQueue()
    given = os.environ.get("MASTER_PORT")
    try:
        fabric.launch(partial(_in_one, work, told, is_shown()))
    except ProcessException:
        errors: list[Exception] = []
        while not told.empty():
            errors.append(told.get())
        # Those that only lost another one come last.
        raise min([*errors, _lost()], key=lambda e: isinstance(e, LostError)) from None
    finally:
        if given is None:  # a free one is found for each training
            os.environ.pop("MASTER_PORT", None)
    return None


def _in_one(work: Callable[[Fabric], Any], told: Any, shown: bool, fabric: Fabric) -> None:
    """`work` in one of the processes that were started; its error is `told` to who started it."""
    if fabric.device.type == "cpu":
        keep_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with on_stderr() if shown and rank() == 0 else nullcontext():
            work(fabric)
    except (PhototraceError, OSError) as error:
        told.put(error)
        raise
    except Exception:
        told.put(RuntimeError(traceback.format_exc()))
        raise
    finally:
        dismiss_workers()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _lost() -> LostError:
    return LostError(
        "A process of the training was ended, and the others with it. What was finished and the "
        "last good checkpoint are kept: go on with --resume and as many processes."
    )


@contextmanager
def first_then_others() -> Iterator[None]:
    """Within, the first process works alone; the others follow in silence, and find it done."""
    if rank() > 0:
        wait()
    with nullcontext() if rank() == 0 else in_silence():
        yield
    if rank() == 0 and count() > 1:
        dismiss_workers()  # those that cut patches: they would outlive a process that is killed
        wait()


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        with _meeting():
            dist.barrier()


def require_same(plan: str) -> None:
    """Raise `PhototraceError` unless all processes have the same plan."""
    plans: list[Any] = [plan] * count()
    if count() > 1:
        with _meeting():
            dist.all_gather_object(plans, plan)
    if len({*plans}) > 1:
        raise PhototraceError(
            "The processes would not train the same network: their libraries, threads or data "
            "differ. Give every machine the same, and a folder that all of them see."
        )


def require_dealt(batch_sizes: Mapping[str, int], processes: int) -> None:
    """Raise `UsageError` unless the batch of every leg can be dealt to the processes alike."""
    for leg, size in batch_sizes.items():
        if processes > 1 and (size % processes or size < 2 * processes):
            raise UsageError(
                f"The batch of {size} of the leg {leg!r} cannot be dealt to {processes} processes. "
                f"Choose a batch_size that is a multiple of {processes}, two or more for each."
            )


@torch.no_grad()
def label_shares(labels: Mapping[str, Tensor]) -> dict[str, Tensor | float]:
    """Leg -> how much its mean over this process's labels counts in the mean over processes.

    The mean of means, each weighed so, is the mean over all labels of the batch, also where some
    are missing. `labels` is how many there are here, a number on the device.
    """
    if count() == 1:
        return dict.fromkeys(labels, 1.0)
    here = torch.stack(list(labels.values())).double()
    every = _summed(here.clone())
    return dict(zip(labels, here * count() / every.clamp(min=1), strict=True))


@torch.no_grad()
def average_(network: nn.Module, figures: Mapping[str, Tensor]) -> None:
    """Give every process the mean gradients and running averages, and the sums of `figures`."""
    if count() == 1:
        return
    averaged = [p.grad for p in network.parameters() if p.grad is not None]
    for norm in network.modules():
        if isinstance(norm, _BatchNorm) and norm.training:
            averaged += [b for b in norm.buffers(recurse=False) if b.is_floating_point()]
    summed = list(figures.values())
    # One message, for each costs a meeting.
    every = torch.cat([t.flatten().to(averaged[0].dtype) for t in (*averaged, *summed)])
    found = torch.split(_summed(every), [t.numel() for t in (*averaged, *summed)])
    for number, (own, values) in enumerate(zip((*averaged, *summed), found, strict=True)):
        own.copy_((values / count() if number < len(averaged) else values).view(own.shape))


def _summed(values: Tensor) -> Tensor:
    with _meeting():
        dist.all_reduce(values)
    return values


@contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what all errors of torch.distributed are
        raise _lost() from error
