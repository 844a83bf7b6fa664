"""Optimisers and learning-rate schedules (paper Sec. 5.1), as functions of the step."""

from __future__ import annotations

from math import cos, pi

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from phototrace.learning.network import Network
from phototrace.learning.recipe import TrainingChoice

# One cycle: the first 30 % of the steps climb from a 25th of the rate, the rest fall to a
# 10,000th, both along a cosine (Smith and Topin 2019; the customary figures).
CLIMB, START, END = 0.3, 1 / 25, 1e-4


def make_optimizer(network: Network, choice: TrainingChoice, preset: str) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; weight decay on weights alone.

    The Caffe preset doubles the rate of convolutions' and linear layers' biases, as the original
    does. Each group carries its factor as `rate`.
    """
    groups: dict[str, list[nn.Parameter]] = {"weights": [], "norms": [], "biases": []}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if isinstance(module, _BatchNorm):
                groups["norms"].append(parameter)
            else:
                groups["biases" if name == "bias" else "weights"].append(parameter)
    doubled = 2.0 if preset == "caffe" else 1.0
    settings = [
        {"params": groups["weights"], "weight_decay": choice.weight_decay, "rate": 1.0},
        {"params": groups["norms"], "weight_decay": 0.0, "rate": 1.0},
        {"params": groups["biases"], "weight_decay": 0.0, "rate": doubled},
    ]
    # Fused: one pass over each weight, equal within rounding.
    if choice.optimizer == "sgd":
        return torch.optim.SGD(
            settings, lr=choice.learning_rate, momentum=choice.momentum, fused=True
        )
    return torch.optim.AdamW(settings, lr=choice.learning_rate, fused=True)


def learning_rate(choice: TrainingChoice, step: int, steps_per_epoch: int) -> float:
    """The base rate at a step: halved every few epochs, or one cycle over the whole training."""
    if choice.schedule == "halving":
        return choice.learning_rate * 0.5 ** (step // steps_per_epoch // choice.halve_every)
    total = steps_per_epoch * choice.epochs
    climb = max(1.0, CLIMB * total)
    if step < climb:
        return choice.learning_rate * _between(START, 1.0, step / climb)
    return choice.learning_rate * _between(1.0, END, (step - climb) / max(1.0, total - climb))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the base rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
