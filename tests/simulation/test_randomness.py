import numpy as np

from phototrace.simulation.randomness import stream


def test_a_stream_follows_from_its_words_alone() -> None:
    assert stream(0, "photo", "Birch", 1).random() == stream(0, "photo", "Birch", 1).random()


def test_other_words_give_independent_streams() -> None:
    drawn = [stream(seed, *words).random() for seed in (0, 1) for words in (("a", 1), ("a1",))]
    assert len(set(drawn)) == 4
    first, second = stream(0, "a").normal(size=4000), stream(0, "b").normal(size=4000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06
