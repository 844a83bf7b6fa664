from dataclasses import asdict

import pytest

from phototrace.simulation.ablation import STEPS, without
from phototrace.simulation.camera import Camera
from phototrace.simulation.cameras import CAMERAS

CHANGES = {
    "optics": {"lens", "correction"},
    "noise": {"sensor"},
    "prnu": {"sensor"},
    "hot pixels": {"sensor"},
    "lens correction": {"correction"},
    "demosaicing": {"sensor", "demosaicing"},
    "denoising": {"denoising"},
    "tone": {"tone"},
    "sharpening": {"sharpening"},
    "scaling": {"scaling"},
    "quality modes": {"jpeg"},
    "own tables": {"jpeg"},
    "jpeg": {"jpeg"},
}


def changed(before: Camera, after: Camera) -> set[str]:
    old, new = asdict(before), asdict(after)
    return {part for part in old if old[part] != new[part]}


def test_every_step_is_listed() -> None:
    assert set(CHANGES) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_left_out_changes_its_part_alone_and_makes_all_models_alike_in_it(step: str) -> None:
    after = [without(camera, [step]) for camera in CAMERAS]
    parts = set().union(*(changed(*pair) for pair in zip(CAMERAS, after, strict=True)))
    assert parts == CHANGES[step]
    assert [without(camera, [step]) for camera in after] == after
    for name in ("scaling", "denoising", "tone", "sharpening", "jpeg"):
        if step == name:
            assert len({str(asdict(camera)[name]) for camera in after}) == 1


def test_steps_add_up_in_any_order_and_none_changes_nothing() -> None:
    camera = CAMERAS[0]
    assert without(camera, []) is camera
    both = without(camera, ["noise", "jpeg"])
    assert both == without(camera, ["jpeg", "noise"])
    assert changed(camera, both) == {"sensor", "jpeg"}
