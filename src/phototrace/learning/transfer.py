"""Transfer learning (paper Sec. 4.1): the trunk of a finished run, kept as it is.

A photo that trained the trunk has trained the new run as well: it must not be tested on.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from phototrace.errors import UsageError
from phototrace.learning.leaks import TRAINED
from phototrace.learning.network import Backbone, Network
from phototrace.learning.recipe import Recipe
from phototrace.learning.run import Run
from phototrace.photos.manifest import PhotoRecord
from phototrace.photos.remembered import KEY_BYTES, Remembered, remember


def load_trunk(recipe: Recipe, beside: Path) -> Run | None:
    """The run that `trunk_from` names, relative to the folder `beside`; None where none is named.

    Raises `UsageError` where it is not there, `DamagedError` where it has changed.
    """
    named = recipe.network.trunk_from
    return None if named is None else Run.load(beside / named)


def check_trunk(recipe: Recipe, trunk: Run | None) -> None:
    """Raise `UsageError` unless recipe and trunk go together."""
    depth = recipe.network.share_depth
    if trunk is None:
        if depth is not None and len(recipe.legs) == 1:
            raise UsageError(
                f"{recipe.name} has a share_depth, but one leg and no trunk to share it with. Give "
                "the run to take the trunk from (trunk_from, or --trunk), or a second leg."
            )
        return
    if depth is None or len(recipe.legs) > 1:
        raise UsageError(
            f"{recipe.name} cannot take the trunk of {trunk.folder}: a transfer has one leg and a "
            "share_depth."
        )
    for key in ("backbone", "patch_size", "channels"):
        ours, theirs = (getattr(r.network, key) for r in (recipe, trunk.recipe))
        if ours != theirs:
            raise UsageError(
                f"The run {trunk.folder} has {key} = {theirs!r}, the recipe {recipe.name} has "
                f"{ours!r}. Give both the same, or take another run."
            )


def take_trunk(network: Network, trunk: Run, backbone: Backbone | None) -> None:
    """Put the run's stages in place of `network`'s trunk, and freeze them.

    Raises `UsageError` where the run's legs share fewer stages.
    """
    source = trunk.model(backbone=backbone).network
    stages: dict[str, nn.Module] = dict(source.trunk.items())
    if len(source.heads) == 1:
        (head,) = source.heads.values()
        stages |= dict(head.items())  # type: ignore[operator]
    wanted = list(network.trunk)
    if wanted[-1] not in stages:
        raise UsageError(
            f"The legs of {trunk.folder} share their stages up to {list(stages)[-1]!r} only. "
            f"Choose that share_depth or a lower one than {wanted[-1]!r}."
        )
    network.trunk = nn.ModuleDict({name: stages[name] for name in wanted})
    network.freeze_trunk_()


def with_trained(facts: Mapping[str, Any], trunk: Run | None) -> dict[str, Any]:
    """Facts of a split (`split.json`) that also count what trained the trunk."""
    if trunk is None:
        return dict(facts)
    seen = trunk.split["part"]
    before = {sha256: part for sha256, part in seen.items() if part in TRAINED}
    return {**facts, "part": {**facts["part"], **before}}


def remember_trained(photos: Sequence[PhotoRecord], trunk: Run | None) -> Remembered:
    """What photos that train, and those that trained the trunk, are known again by.

    The key is the trunk's, so that names can be compared with those of its photos.
    """
    before = trunk.trained if trunk else None
    own = remember(photos, (before.key if before else b"") or secrets.token_bytes(KEY_BYTES))
    if trunk is None:
        return own
    return own.join(before) if before else replace(own, complete=False)
