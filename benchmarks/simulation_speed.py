"""How long a simulated photo takes on one core: its scene, and its camera.

    python benchmarks/simulation_speed.py [--size 1224 1632] [--scenes 3]

Every camera model takes one photo of each scene. Printed are seconds a scene (made once for all
cameras), seconds a photo by model with its JPEG file, and what a photo costs in all when all
devices of all models share the scenes. The default size has 2.0 megapixels. Seconds are the
processor's own, on one thread, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import time
from datetime import datetime
from statistics import mean, median

import cv2

from phototrace.simulation.cameras import CAMERAS
from phototrace.simulation.encoding import encode
from phototrace.simulation.randomness import stream
from phototrace.simulation.scenes import make_scene
from phototrace.simulation.sensor import make_device
from phototrace.simulation.shooting import sensor_size, shoot


def main() -> None:
    """Time scenes and photos, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(1224, 1632))
    parser.add_argument("--scenes", type=int, default=3)
    asked = parser.parse_args()
    height, width = asked.size
    size = (height, width)
    cv2.setNumThreads(1)
    for_scene: list[float] = []
    for_photo: dict[str, list[float]] = {camera.name: [] for camera in CAMERAS}
    for number in range(asked.scenes):
        begun = time.process_time()
        scene = make_scene(number, size, seed=0)
        for_scene.append(time.process_time() - begun)
        for camera in CAMERAS:
            begun = time.process_time()
            body = make_device(camera, 1, sensor_size(camera, size), seed=0)
            shot = shoot(scene, camera, body, size, stream(number, camera.name))
            encode(shot.pixels, camera, shot.iso, datetime(2020, 1, 1), shot.mode)
            for_photo[camera.name].append(time.process_time() - begun)
    print(f"{height * width / 1e6:.2f} megapixels, one core, median of {asked.scenes} scenes")
    for name, seconds in for_photo.items():
        print(f"  {name:18} {median(seconds):.2f} s")
    photo = mean(median(seconds) for seconds in for_photo.values())
    devices = sum(camera.devices for camera in CAMERAS)
    print(f"a photo, mean of the models: {photo:.2f} s")
    print(f"a scene: {median(for_scene):.2f} s, for {devices} photos")
    print(f"a photo with its share of the scene: {photo + median(for_scene) / devices:.2f} s")


if __name__ == "__main__":
    main()
