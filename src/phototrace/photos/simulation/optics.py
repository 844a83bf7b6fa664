"""From the scene to the light on the sensor: where the camera stood, and how sharp its lens is."""

from __future__ import annotations

import cv2
import numpy as np

from phototrace.photos.simulation.cameras import Lens
from phototrace.photos.simulation.scenes import FINENESS
from phototrace.photos.simulation.textures import Floats


def project(
    light: Floats, lens: Lens, size: tuple[int, int], random: np.random.Generator
) -> Floats:
    """The scene as this photo's lens draws it: float32 (height, width, 3), linear.

    Every photo is aimed a little elsewhere (2 % of the view), from a little nearer or farther
    (3 %) and not quite level (0.4 degrees), so no two photos share a pixel. The blur comes before
    the sampling, as in a lens: what it leaves above the pixels' frequency becomes aliasing.
    """
    blur = lens.blur * FINENESS * random.uniform(0.95, 1.1)
    drawn = cv2.GaussianBlur(light, (0, 0), blur)
    height, width = size
    scale = FINENESS * random.uniform(0.97, 1.03)
    angle = np.deg2rad(random.uniform(-0.4, 0.4))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([light.shape[1], light.shape[0]]) / 2
    centre += random.uniform(-0.02, 0.02, 2) * FINENESS * min(size)
    corner = centre - turn @ (np.array([width, height]) / 2)
    view = np.concatenate([turn, corner[:, None]], axis=1)  # photo x, y -> scene x, y
    return np.asarray(
        cv2.warpAffine(
            drawn,
            view,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        dtype=np.float32,
    )
