"""Where a network runs, and in which precision."""

from __future__ import annotations

import ctypes
import logging
import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from phototrace.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["float32", "bfloat16"]
DeviceName = Literal["auto", "cpu", "cuda"]
Module = TypeVar("Module", bound=nn.Module)


class Accelerator(Protocol):
    """What is needed of Lightning Fabric: the device and the precision."""

    @property
    def device(self) -> torch.device:
        """Where tensors go."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        ...


def accelerator(precision: Precision, device: DeviceName = "auto", **many: Any) -> Fabric:
    """CUDA where it is present (or as `device` says), in bfloat16 autocast or plain float32.

    `many` is for Fabric, where this is one of several (`processes.team`). Raises `UsageError`
    where CUDA is asked for and not there.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    name = kind(device)
    rounding: dict[Precision, Literal["bf16-mixed", "32-true"]] = {
        "bfloat16": "bf16-mixed", "float32": "32-true",
    }  # fmt: skip
    if name == "cpu":
        keep_memory()
    return Fabric(accelerator=name, precision=rounding[precision], **{"devices": 1, **many})


def kind(device: DeviceName) -> Literal["cpu", "cuda"]:
    """What `device` means on this machine; `UsageError` where it is not there."""
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UsageError("There is no CUDA device here. Choose device='cpu' or 'auto'.")
    return ("cuda" if there else "cpu") if device == "auto" else device


def keep_memory() -> None:
    """Let this process keep what it frees, where the C library is glibc.

    A training step frees and takes the same memory as the step before. Large pieces of it go back
    to the system by default, which clears every page again when it is touched: a fifth of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, value in (_TRIM_THRESHOLD, -1), (_MMAP_MAX, 0), (_ARENA_MAX, 1):
            mallopt(option, value)


# Of glibc's malloc.h: nothing is trimmed, nothing mapped apart, all threads share what is kept.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def resolve(precision: str) -> Precision:
    """What a recipe's `precision` means on this machine: `auto` is bfloat16 where that pays."""
    wanted = precision == "bfloat16" or (precision == "auto" and computes_bfloat16())
    return "bfloat16" if wanted else "float32"


def computes_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices itself, so that autocast pays."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def to_input(patches: Tensor, device: torch.device) -> Tensor:
    """Uint8 patches `(n, c, h, w)` as float32 with values 0..255, channels last in memory."""
    # First there, then float32: a quarter of the bytes, and nobody waits for what is pinned.
    there = patches.to(device, non_blocking=True)
    if patches.ndim != 4:  # what a trunk gave above its convolutions
        return there
    return there.to(torch.float32, memory_format=torch.channels_last)


def place(network: Module, device: torch.device) -> Module:
    """On the device, with channels last in memory: half as fast again for these convolutions."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
