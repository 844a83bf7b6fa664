import numpy as np

from phototrace.photos.simulation.cameras import Lens
from phototrace.photos.simulation.optics import project
from phototrace.photos.simulation.randomness import stream

SIZE = (96, 128)
SHARP, SOFT = Lens(blur=0.4), Lens(blur=1.6)


def light() -> np.ndarray:
    fine = stream("light").random((160, 212, 3), dtype=np.float32)
    return fine + 0.1


def test_an_even_scene_stays_even() -> None:
    view = project(np.full((160, 212, 3), 0.3, np.float32), SHARP, SIZE, stream(1))
    assert view.shape == (*SIZE, 3)
    assert view.dtype == np.float32
    np.testing.assert_allclose(view, 0.3, rtol=1e-5)


def test_the_softer_lens_keeps_less_detail() -> None:
    sharp, soft = (project(light(), lens, SIZE, stream(1)) for lens in (SHARP, SOFT))
    assert soft.std() < 0.6 * sharp.std()


def test_no_two_photos_are_aimed_alike() -> None:
    one, other = (project(light(), SHARP, SIZE, stream(n)) for n in (1, 2))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.5
