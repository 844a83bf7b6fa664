import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from phototrace.errors import UsageError
from phototrace.evidence.comparison import compare, compare_numbers
from phototrace.evidence.evaluation import Evaluation, evaluate
from phototrace.evidence.formatting import headline, wide
from phototrace.evidence.kinds import evaluate_any
from phototrace.evidence.numbers import evaluate_numbers
from phototrace.evidence.predictions import NumberPredictions, Predictions
from phototrace.evidence.report import Evaluated, NextStep, render_report, write_report

MakeUp = Callable[..., Predictions]
MakeUpNumbers = Callable[..., NumberPredictions]
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{ 7*7 }}'


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def section(table: Predictions | NumberPredictions, **more: object) -> Evaluated:
    result = evaluate_any(table, resamples=100)
    kept = "No photo was both trained and tested on."
    return Evaluated("Six manipulations", result, kept, **more)  # type: ignore[arg-type]


@pytest.fixture
def everything_hostile(made_up: MakeUp, made_up_numbers: MakeUpNumbers) -> str:
    table = made_up(6, devices=3, scenes=3, skill=1.0)
    bad = np.full(len(table), HOSTILE)
    table = replace(
        table,
        task=HOSTILE,
        run=HOSTILE,
        classes=tuple(f"{HOSTILE}{number}" for number in range(6)),
        device=np.char.add(bad, table.device),
        scene=np.char.add(bad, table.scene),
        editing=bad,
        run_hash=HOSTILE,
    )
    run = Evaluated(
        HOSTILE,
        evaluate(table, resamples=100),
        HOSTILE,
        [HOSTILE],
        {HOSTILE: HOSTILE},
        [{"epoch": 1, "loss": 1.0}],
        dict.fromkeys(table.photo.tolist(), HOSTILE),
    )
    pair = compare(table, replace(table, run=HOSTILE + "b"), resamples=100)
    numbers = hostile_numbers(made_up_numbers(6, devices=3, scenes=3))
    in_a_range = replace(
        run,
        evaluation=evaluate_numbers(numbers, resamples=100),
        training=[{"epoch": 1, "error": 1.0}],
    )
    of_numbers = compare_numbers(numbers, replace(numbers, run=HOSTILE + "b"), resamples=100)
    next_steps = [NextStep(HOSTILE, HOSTILE)]
    return render_report([run, in_a_range, run], [pair, of_numbers], HOSTILE, next_steps)


def hostile_numbers(table: NumberPredictions) -> NumberPredictions:
    bad = np.full(len(table), HOSTILE)
    return replace(
        table,
        task=HOSTILE,
        unit=HOSTILE,
        run=HOSTILE,
        device=np.char.add(bad, table.device),
        scene=np.char.add(bad, table.scene),
        editing=bad,
        run_hash=HOSTILE,
    )


def test_no_name_becomes_markup(everything_hostile: str) -> None:
    page = Page(everything_hostile)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "49" not in "".join(text for text in page.texts if "alert" in text)
    assert "\u202e" not in everything_hostile
    assert "".join(page.texts).count("<script>alert(1)</script>") > 20


def test_the_page_fetches_nothing_and_forbids_it(everything_hostile: str) -> None:
    page = Page(everything_hostile)
    for name, value in page.attributes:
        if name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert value.startswith("#"), (name, value)
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    style = everything_hostile[
        everything_hostile.index("<style>") : everything_hostile.index("</style>")
    ]
    assert "url(" not in style
    assert "@import" not in style
    assert everything_hostile.count("<style") == 1


def test_the_first_thing_said_is_the_answer(made_up: MakeUp) -> None:
    run = section(made_up(skill=2.0), cautions=["Only JPEG files were tested."])
    text = " ".join(" ".join(Page(render_report([run])).texts).split())
    figure = evaluate(made_up(skill=2.0), resamples=100).accuracy
    order = [
        "Six manipulations",
        f"{100 * figure.value:.1f}",
        "of patches were classified correctly",
        f"95 % interval {100 * figure.low:.1f} to {100 * figure.high:.1f} over",
        "24 test photos from 12 devices and 11 scenes",
        "How training and test were separated No photo was both trained",
        "Before you rely on this Only JPEG files were tested.",
        "Only 4 devices tested here had never been seen in training",
        "Confusion matrix",
    ]
    text = text[text.index("phototrace evaluation report") :]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_the_first_thing_said_of_numbers_is_the_answer(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers()
    result = evaluate_numbers(table, resamples=100)
    run = section(table, cautions=["Only JPEG files were tested."])
    text = " ".join(" ".join(Page(render_report([run])).texts).split())
    order = [
        "Six manipulations",
        f"{result.error.value:.2f}",
        "strength steps is the mean error, in a range of 50 to 95",
        f"95 % interval {result.error.low:.2f} to {result.error.high:.2f} over",
        "24 test photos from 12 devices and 11 scenes",
        "mean error at photo level",
        "Always predicting 72.50, the middle, would have a mean error of 13.50.",
        "How training and test were separated No photo was both trained",
        "Before you rely on this Only JPEG files were tested.",
        "4 of 10 equal parts of the range had no test patch.",
        "Only 4 devices tested here had never been seen in training",
        "error of 0.90 or less (2.0 % of the range)",
        "Error by condition",
        "Predictions and true values",
        "not tested",
        "Photo by photo",
        "Device by device",
        "too few photos",
        "Where these figures come from",
        "b" * 64,
    ]
    text = text[text.index("phototrace evaluation report") :]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "classified correctly" not in text
    assert "mean error" in text[text.index("Words used here") :]


def test_one_page_holds_sections_of_both_kinds(
    made_up: MakeUp, made_up_numbers: MakeUpNumbers
) -> None:
    a, b = made_up_numbers(run="first"), made_up_numbers(run="second", spread=6.0)
    pair = compare_numbers(a, b, resamples=100)
    page = Page(render_report([section(a), section(made_up()), section(b)], [pair]))
    text = " ".join("".join(page.texts).split())
    assert text.count("first has a smaller mean error than second") == 2
    assert "of patches were classified correctly" in text
    assert f"on the same {pair.matched} patches" in text
    assert f"{pair.a_nearer:,} patches" in text
    assert "Difference in mean error, in strength steps." in text
    over_photos = pair.difference.intervals[0]
    assert f"Over 24 photos: +{over_photos.low:.2f} to +{over_photos.high:.2f} strength" in text
    assert page.tags.count("svg") == 2 + 3 + 2 + 1
    assert page.open == []


def test_numbers_without_much_behind_them_are_reported(made_up_numbers: MakeUpNumbers) -> None:
    table = made_up_numbers(1, devices=1, scenes=1, patches=1)
    n = len(table)
    table = replace(
        table,
        value=table.label,
        editing=np.full(n, ""),
        seen_device=np.ones(n, bool),
        scene=np.full(n, ""),
    )
    text = " ".join(" ".join(Page(render_report([section(table)])).texts).split())
    assert "Only 1 photo: too few" in text
    assert "mean error at photo level" not in text
    assert "Scene by scene" not in text
    one = render_report([section(table.select(table.label == 50))])
    assert "of 1:" in one


def test_provenance_and_worst_photos_are_listed(made_up: MakeUp) -> None:
    table = made_up(skill=2.0)
    worst = evaluate(table, resamples=100).by_photo[0]
    run = section(table, provenance={"torch": "2.13.0"}, photo_names={worst.photo: "holiday/7.jpg"})
    page = render_report([run])
    for part in ("a" * 64, "b" * 64, "c" * 64, table.hash, "2.13.0", "seed 0", "holiday/7.jpg"):
        assert part in page
    assert f"{worst.right} of {worst.patches}" in page
    assert worst.photo not in page


def test_a_run_without_errors_seen_devices_or_many_photos_is_reported(made_up: MakeUp) -> None:
    table = made_up(1, devices=1, scenes=1, skill=60, classes=("a", "b", "c"))
    n = len(table)
    table = replace(table, editing=np.full(n, ""), seen_device=np.ones(n, bool),
                    scene=np.full(n, "")).select(table.label < 2)  # fmt: skip
    page = " ".join(" ".join(Page(render_report([section(table)])).texts).split())
    assert "not tested" in page
    assert "never predicted" in page
    assert "Only 1 photo: too few" in page
    assert "How it was trained" not in page


def test_no_wide_interval_stands_without_its_meaning(made_up: MakeUp) -> None:
    """All is right on few photos: every figure's interval is wide and says why."""
    run = section(made_up(12, devices=11, scenes=11, skill=60))
    page = " ".join("".join(Page(render_report([run])).texts).split())
    answer = page[page.index("classified correctly") : page.index("How training and test")]
    result = run.evaluation
    assert isinstance(result, Evaluation)
    assert headline(result).endswith(wide(result.accuracy))
    assert result.accuracy.interval.clusters == 11
    # The figure itself, decisions on photos, and patches of scenes and devices never seen.
    assert answer.count("No error occurred in 11 devices, but so few cannot rule out") == 2
    assert answer.count("cannot rule out") == 4
    assert f"patches, balanced over classes: {wide(result.balanced_accuracy)}" in page
    for stratum in result.strata:
        assert f"{stratum.what}: {stratum.value}: {wide(stratum.accuracy)}" in page
    for row in result.by_class:
        assert row.recall is not None
        assert f"{row.name}: {wide(row.recall)}" in page
    assert "If a device has fewer than ten photos, its interval is wide" in page
    assert "If a scene has fewer than ten photos, its interval is wide" in page


def test_narrow_intervals_need_no_words(made_up: MakeUp) -> None:
    run = section(made_up(160, devices=4, scenes=4, skill=3.0))
    page = "".join(Page(render_report([run])).texts)
    assert isinstance(run.evaluation, Evaluation)
    assert wide(run.evaluation.accuracy) == ""
    assert headline(run.evaluation).endswith("4 scenes).")
    assert "cannot rule out" not in page
    assert "its interval is wide" not in page


def test_comparisons_have_their_sections(made_up: MakeUp) -> None:
    a, b = made_up(run="first"), made_up(run="second", skill=1.5)
    pair = compare(a, b.select(b.label > 0), resamples=100)
    page = Page(render_report([section(a), section(b)], [pair]))
    text = " ".join("".join(page.texts).split())
    assert text.count("first is more accurate than second") == 2
    assert f"on the same {pair.matched} patches" in text
    assert "have no counterpart and are left out" in text
    ids = [value for name, value in page.attributes if name == "id"]
    links = [value[1:] for name, value in page.attributes if name == "href"]
    assert set(links) <= set(ids)
    assert {"run-1", "run-2", "pair-1"} <= set(ids)


def test_figures_follow_light_and_dark(made_up: MakeUp) -> None:
    page = render_report([section(made_up())])
    assert page.count('<svg role="img"') == 3
    assert "var(--blue)" in page[page.index("<svg") :]
    assert not re.search(r"(fill|stroke): #(1b2733|0072b2|d55e00|ffffff)", page)


def test_written_twice_it_is_the_same(made_up: MakeUp, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, [section(made_up())], next_steps=[NextStep("Look:", "ls")])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "Where to go next" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        render_report([])


def test_reports_start_without_torch() -> None:
    code = (
        "import sys; import phototrace.evidence.report;"
        "assert not {'torch', 'matplotlib', 'pyarrow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
