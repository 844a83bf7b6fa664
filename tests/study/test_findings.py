"""Each finding is told from its opposite and from no effect."""

from collections.abc import Callable, Mapping

import pytest

from phototrace.evidence.intervals import Figure, Interval
from phototrace.study import findings as module
from phototrace.study.findings import Finding, findings
from phototrace.study.paper import ACCURACY, Key
from phototrace.study.results import Answers

DEPTHS = ("constr", "conv1", "conv2", "conv3", "conv4", "fc1", "fc2")
Make = Callable[[Mapping[Key, float]], Answers]


def of(name: str, answers: Answers) -> Finding:
    return next(f for f in findings(answers) if f.name.startswith(name))


def transfers(target: str, source: str, values: list[float]) -> dict[Key, float]:
    return {Key(target, "transfer", source, d): v for d, v in zip(DEPTHS, values, strict=True)}


def test_asymmetry(answers_of: Make) -> None:
    lost_by_b = {Key("B", "transfer", "A", "fc2"): 0.3}
    lost_by_a = {Key("A", "transfer", "B", "fc2"): 0.3}
    found = of("task asymmetry", answers_of(lost_by_b))
    assert found.verdict == "holds"
    assert found.details[2].figure.value == pytest.approx(0.5)
    assert "50.0" in found.sentence
    assert of("task asymmetry", answers_of(lost_by_a)).verdict == "does not hold"
    assert of("task asymmetry", answers_of(lost_by_a | lost_by_b)).verdict == "not decided"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4], "holds"),
        ([0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.9], "does not hold"),
        ([0.9, 0.8, 0.7, 0.6, 0.8, 0.5, 0.4], "does not hold"),  # falls, but one step rises
        ([0.8] * 7, "not decided"),
    ],
)
def test_hierarchy(answers_of: Make, values: list[float], verdict: str) -> None:
    for target, source, name in (("A", "B", "manipulation"), ("B", "A", "camera")):
        answers = answers_of(transfers(target, source, values))
        assert of(f"feature hierarchy, {name}", answers).verdict == verdict


def test_the_slope_is_the_mean_change_a_step_deeper(answers_of: Make) -> None:
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    found = of("feature hierarchy, camera", answers_of(transfers("B", "A", values)))
    assert found.details[0].figure.value == pytest.approx(-0.1)


def test_shallow_transfer(answers_of: Make) -> None:
    better = {Key(t, "transfer", s, "constr"): 0.9 for t, s in (("A", "B"), ("B", "A"))}
    assert of("shallow", answers_of(better)).verdict == "holds"
    assert of("shallow", answers_of({})).verdict == "not decided"
    worse = {**better, Key("B", "transfer", "A", "constr"): 0.5}
    assert of("shallow", answers_of(worse)).verdict == "does not hold"


def test_multitask_above_transfer(answers_of: Make) -> None:
    better = {Key("B", "multitask", "A+B", depth): 0.9 for depth in DEPTHS}
    better |= {Key("A", "multitask", "A+B", depth): 0.9 for depth in ("fc1", "fc2")}
    assert of("multitask", answers_of(better)).verdict == "holds"
    assert of("multitask", answers_of({})).verdict == "not decided"
    worse = better | {Key("B", "multitask", "A+B", "conv1"): 0.7}
    assert of("multitask", answers_of(worse)).verdict == "does not hold"
    # Shallow depths of manipulation are no part of the claim.
    shallow = better | {Key("A", "multitask", "A+B", "conv1"): 0.1}
    assert of("multitask", answers_of(shallow)).verdict == "holds"


def test_trees(answers_of: Make) -> None:
    better = {Key(t, "trees", f): 0.9 for t in "AB" for f in ("A", "B", "A+B")}
    assert of("trees", answers_of(better)).verdict == "holds"
    worse = better | {Key("B", "trees", "A"): 0.5}
    assert of("trees", answers_of(worse)).verdict == "does not hold"


def test_unified(answers_of: Make) -> None:
    good = {
        Key(t, w, "A+B", d): 0.9 for t in "AB" for w, d in (("multitask", "fc2"), ("trees", ""))
    }
    assert of("unified", answers_of(good)).verdict == "holds"
    assert of("unified", answers_of({})).verdict == "not decided"
    worse = {Key("A", "multitask", "A+B", "fc2"): 0.7}
    assert of("unified", answers_of(worse)).verdict == "does not hold"


def test_few_photos_takes_the_better_of_the_two_counts(answers_of: Make) -> None:
    order = {
        Key("C", "trees", "A+B+C"): 0.9,
        Key("C", "trees", "A+B"): 0.8,
        Key("C", "trees", "B"): 0.7,
        Key("C", "single", "C"): 0.5,
        Key("C", "longer", "C"): 0.6,
    }
    found = of("few photos", answers_of(order))
    assert found.verdict == "holds"
    assert found.details[-1].figure.value == pytest.approx(0.3)
    assert "the hybrid's number of steps" in found.sentence
    assert "4 to 5 photos" in found.sentence
    assert of("few photos", answers_of(order | {Key("C", "longer", "C"): 1.0})).verdict == (
        "does not hold"
    )


def test_the_papers_own_figures_bear_out_its_findings() -> None:
    """The differences quoted beside a study's are those of the paper's tables."""
    for target, features, way, paper in (
        ("A", "A", "single", 0.002), ("A", "B", "transfer", 0.013),
        ("A", "A+B", "multitask", 0.004), ("B", "A", "transfer", 0.147),
        ("B", "B", "single", 0.002), ("B", "A+B", "multitask", 0.008),
    ):  # fmt: skip
        network = Key(target, way, features, "" if way == "single" else "fc2")
        gain = ACCURACY[Key(target, "trees", features)] - ACCURACY[network]
        assert gain == pytest.approx(paper)


def test_claims_and_verdicts_are_whole(answers_of: Make) -> None:
    for finding in findings(answers_of({})):
        assert finding.claim.endswith(".")
        assert finding.sentence.endswith(".")
        assert finding.details
        assert finding.verdict in module.Verdict.__args__  # type: ignore[attr-defined]


def test_one_of_many_parts_fails_only_plainly() -> None:
    """Just below zero is a failure of one claim, and chance among six."""

    def figure(low: float, value: float, high: float) -> Figure:
        interval = Interval("photo", 40, low, high, "bootstrap over photos", "")
        return Figure(value, 100, 40, 1, 1, (interval,))

    just_below = figure(-0.04, -0.0205, -0.001)
    assert module.side(just_below) == "does not hold"
    assert module.side(just_below, parts=6) == "not decided"
    assert module.side(figure(-0.4, -0.3, -0.2), parts=6) == "does not hold"
    assert module.side(figure(0.001, 0.0205, 0.04), parts=6) == "holds"
    assert module.side(just_below, -0.05, parts=6) == "holds"
