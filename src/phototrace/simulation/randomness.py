"""Random streams that are named, so that a photo does not depend on what else is simulated."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*words: str | int) -> np.random.Generator:
    """A generator that is a pure function of `words`, such as (seed, model, device, scene).

    Streams of different words are independent. Adding a camera, device or scene, or another
    number of workers, therefore leaves every other photo as it was.
    """
    name = "\n".join(str(word) for word in words)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()))
