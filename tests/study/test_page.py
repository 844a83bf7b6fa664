import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from phototrace.evidence.formatting import percent, points
from phototrace.evidence.intervals import Figure, Trials
from phototrace.study.figure import figure_3
from phototrace.study.findings import Detail, Finding, Verdict
from phototrace.study.page import cautions, page
from phototrace.study.paper import ACCURACY, Key
from phototrace.study.results import Score
from phototrace.study.tables import figure_csv, table_csv

DEPTHS = ("constr", "conv1", "conv2", "conv3", "conv4", "fc1", "fc2")
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{ 7*7 }}$x^2$\\frac{'
SVG = "{http://www.w3.org/2000/svg}"


@cache
def figure(rate: float, seed: int = 0, *, photos: int = 40, signed: bool = False) -> Figure:
    """Four patches a photo, photos of differing difficulty."""
    rng = np.random.default_rng(seed)
    photo = np.repeat(np.arange(photos), 4)
    chance = np.clip(abs(rate) + rng.normal(0, 0.03, photos)[photo], 0, 1)
    value = np.sign(rate) * (rng.random(len(photo)) < chance)
    return Trials(
        value=value if signed else abs(value),
        label=np.zeros(len(photo), dtype=np.int64),
        photo=photo,
        device=photo % 12,
        scene=photo % 3,
        patches=np.ones(len(photo), dtype=np.int64),
        seed=0,
        resamples=100,
    ).figure(signed=signed)


def score(number: int, key: Key) -> Score:
    depth = DEPTHS.index(key.depth) if key.depth else 3
    falls = {"A": 0.01, "B": 0.07, "C": 0.03}[key.target] if key.way == "transfer" else 0.005
    return Score(
        key=key,
        accuracy=figure(0.96 - falls * depth, number),
        by_seed=(0.5 + number / 1000, 0.6 + number / 1000),
        paper=ACCURACY.get(key),
        retrained=0 if key.way == "trees" else 340_000 // 5**depth + number,
        patches=4000 + number,
        steps=0 if key.way == "trees" else 1000 + number,
        seconds=60.0 * number,
        run_hashes=("run", "other run"),
        predictions_hashes=("said", "said otherwise"),
    )


@pytest.fixture
def scores(cells: list[Key]) -> dict[Key, Score]:
    return {key: score(number, key) for number, key in enumerate(sorted(cells), start=1)}


@pytest.fixture
def findings() -> tuple[Finding, ...]:
    names: tuple[Verdict, ...] = ("holds", "does not hold", "not decided")
    details = tuple(
        Detail(f"detail {n}", figure(rate, n, signed=True), verdict, paper)
        for n, (rate, verdict, paper) in enumerate(
            zip((0.2, -0.3, 0.02), names, (0.397, 0.0, None), strict=True)
        )
    )
    return tuple(
        Finding(f"finding on {verdict}", f"The claim that {verdict}.", verdict,
                f"What is said of “{verdict}”.", details)
        for verdict in names
    )  # fmt: skip


@pytest.fixture
def facts() -> dict[str, Any]:
    classes = {
        "A": ["unaltered", "median", "blur", "noise", "resampled", "JPEG"],
        "B": [f"Maker Model {n}" for n in range(20)],
        "C": ["Few One", "Few Two", "Few Three"],
    }
    return {
        "study": "a study",
        "plan": "1" * 64,
        "recipe": {
            "name": "a study", "illustration": False, "note": "Taken in one house.", "margin": 1.0,
            "photos": {"where": {}}, "split": {"by": "device and scene", "test_devices": []},
            "training": {"epochs": 30},
        },
        "seeds": [4, 5],
        "depths": list(DEPTHS),
        "classes": classes,
        "missing": {"B": ["Nikon D200"], "C": []},
        "photos": {
            task: {
                part: {name: many + n for n, name in enumerate(names)}
                for part, many in (("train", 70), ("validation", 10), ("test", 20))
            }
            for task, names in classes.items()
        },
        "photos_left_out": [{"path": "a.jpg", "text": "a.jpg cannot be read."}],
        "leaks": [],
        "manifest": "2" * 64,
        "split": "3" * 64,
        "notes": ["One model has one device."],
        "tests": {task: task * 64 for task in "ABC"},
        "machine": {
            "python": "3.11.7", "libraries": {"torch": "2.13.0"}, "system": "Linux",
            "processor": "a processor", "threads": 2, "accelerator": "",
        },
    }  # fmt: skip


class Read(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def drawn(svg: bytes) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_figure_has_a_panel_a_target_with_all_depths(
    scores: dict[Key, Score], facts: dict[str, Any]
) -> None:
    texts = drawn(figure_3(scores, facts, "svg"))
    for name in (*DEPTHS, "A: manipulation detection", "B: camera models"):
        assert texts.count(name) == (2 if name in DEPTHS else 1)
    for name in ("single task", "transfer", "multitask", "95 % interval"):
        assert texts.count(name) == 1
    assert figure_3(scores, facts, "png").startswith(b"\x89PNG")


def test_the_figure_cuts_nothing_and_needs_not_every_cell(
    scores: dict[Key, Score], facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    canvases: list[Any] = []
    monkeypatch.setattr("phototrace.study.figure.to_bytes", lambda made, _: canvases.append(made))
    wide = figure(0.3, 3, photos=4)
    low = {key: replace(one, accuracy=wide) for key, one in scores.items()}
    del low[Key("A", "single", "A")], low[Key("A", "multitask", "A+B", "conv2")]
    figure_3(low, facts, "svg")
    for axes in canvases[0].axes:
        bottom, top = axes.get_ylim()
        assert bottom < 100 * wide.low < 100 * wide.value - 10
        assert top > 100 * ACCURACY[Key("A", "transfer", "B", "constr")]
        assert max(axes.get_yticks()) <= 100
        assert [text.get_text() for text in axes.get_xticklabels()] == [*DEPTHS]


def test_an_illustration_says_so_in_the_figure(
    scores: dict[Key, Score], facts: dict[str, Any]
) -> None:
    assert "illustration, not evidence" not in drawn(figure_3(scores, facts, "svg"))
    facts["recipe"]["illustration"] = True
    assert "illustration, not evidence" in drawn(figure_3(scores, facts, "svg"))


def test_the_figures_table_has_a_row_a_point(
    scores: dict[Key, Score], facts: dict[str, Any]
) -> None:
    found = rows(figure_csv(scores, facts))
    assert len(found) == 2 * (1 + 7 + 7)
    assert list(found[0]) == [
        "target", "way", "features", "depth", "accuracy", "low", "high", "interval over",
        "test patches", "test photos", "test devices", "test scenes", "paper",
        "retrained parameters", "training patches", "steps", "seconds",
        "accuracy, seed 4", "accuracy, seed 5",
    ]  # fmt: skip
    by_key = {Key(r["target"], r["way"], r["features"], r["depth"]): r for r in found}
    assert [r["depth"] for r in found if (r["target"], r["way"]) == ("B", "transfer")] == [*DEPTHS]
    for key, row in by_key.items():
        one = scores[key]
        assert float(row["accuracy"]) == pytest.approx(one.accuracy.value, abs=1e-6)
        assert float(row["low"]) == pytest.approx(one.accuracy.low, abs=1e-6)
        assert float(row["high"]) == pytest.approx(one.accuracy.high, abs=1e-6)
        assert row["paper"] == ("" if key not in ACCURACY else str(ACCURACY[key]))
        assert float(row["accuracy, seed 5"]) == one.by_seed[1]
        assert int(row["steps"]) == one.steps
        assert int(row["retrained parameters"]) == one.retrained
    last = by_key[Key("B", "transfer", "A", "fc2")]
    assert last["paper"] == "0.578"
    assert (
        last["interval over"] == scores[Key("B", "transfer", "A", "fc2")].accuracy.interval.by + "s"
    )
    assert (last["test patches"], last["test photos"]) == ("160", "40")


def test_table_2_has_the_papers_layout(scores: dict[Key, Score]) -> None:
    a, b, both = rows(table_csv(scores, 2))
    assert [r["features"] for r in (a, b, both)] == [
        "Manipulation (A)", "Camera model (B)", "Hybrid (A + B, fc2)",
    ]  # fmt: skip
    cells = {
        (id(a), "manipulation detection (A), CNN"): Key("A", "single", "A"),
        (id(a), "camera models (B), CNN"): Key("B", "transfer", "A", "fc2"),
        (id(a), "camera models (B), ERT"): Key("B", "trees", "A"),
        (id(b), "manipulation detection (A), CNN"): Key("A", "transfer", "B", "fc2"),
        (id(b), "camera models (B), CNN"): Key("B", "single", "B"),
        (id(both), "manipulation detection (A), CNN"): Key("A", "multitask", "A+B", "fc2"),
        (id(both), "camera models (B), CNN"): Key("B", "multitask", "A+B", "fc2"),
        (id(both), "manipulation detection (A), ERT"): Key("A", "trees", "A+B"),
    }
    by_id = {id(r): r for r in (a, b, both)}
    for (row, column), key in cells.items():
        found = by_id[row]
        assert float(found[f"{column}, accuracy"]) == pytest.approx(scores[key].accuracy.value)
        assert float(found[f"{column}, paper"]) == ACCURACY[key]
    assert len(a) == 1 + 4 * 4


def test_table_3_has_both_networks_of_few_photos(scores: dict[Key, Score]) -> None:
    found = rows(table_csv(scores, 3))
    cnn, ert = (f"few-photo camera models (C), {kind}" for kind in ("CNN", "ERT"))
    assert [r[f"{cnn}, paper"] for r in found] == ["", "", "0.866", "", "", "0.921"]
    assert [r[f"{ert}, paper"] for r in found] == ["0.75", "0.889", "0.856", "", "0.915", "0.928"]
    longer = scores[Key("C", "longer", "C")].accuracy
    assert float(found[3][f"{cnn}, accuracy"]) == pytest.approx(longer.value)
    assert found[3][f"{ert}, accuracy"] == found[4][f"{cnn}, accuracy"] == ""


def test_without_a_figure_of_the_papers_the_cell_is_empty(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    bare = {key: replace(one, paper=None) for key, one in scores.items()}
    assert {r["paper"] for r in rows(figure_csv(bare, facts))} == {""}
    assert {v for r in rows(table_csv(bare, 2)) for k, v in r.items() if "paper" in k} == {""}
    assert "paper: 57.8" in Read(page(scores, findings, facts)).text
    assert not re.search(r"paper: \d", Read(page(bare, findings, facts)).text)


def test_every_finding_is_said_with_its_verdict_and_numbers(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    text = Read(page(scores, findings, facts)).text
    assert "Of the paper's 3 findings, 1 holds on these photos, 1 does not , and 1 is not" in text
    for place, finding in enumerate(findings, start=1):
        part = text[text.index(f"{place}. {finding.name}") :]
        part = part[: part.find(f"{place + 1}. finding")] if place < 3 else part
        assert part.startswith(
            f"{place}. {finding.name} {finding.verdict} The paper: {finding.claim}"
        )
        assert finding.sentence in part
        for detail in finding.details:
            low, high = points(detail.figure.low), points(detail.figure.high)
            assert f"{detail.what} {points(detail.figure.value)} {low} to {high} over" in part
    assert "+39.7 holds" in text


def test_the_page_shows_tables_trainings_and_what_was_studied(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    text = Read(page(scores, findings, facts)).text
    for key in sorted(scores):
        figure = scores[key].accuracy
        assert f"{percent(figure.value)} {percent(figure.low)} to {percent(figure.high)}" in text
    one = scores[Key("B", "transfer", "A", "conv1")]
    assert f"A transfer B conv1 {percent(one.accuracy.value)}" in text
    assert f"{one.retrained:,} {one.patches:,} {one.steps:,} {one.seconds / 60:,.1f}" in text
    for part in (
        "20 classes. Photos per class: 70 to 89 for training, 10 to 29 for validation, "
        "20 to 39 for test.",
        "Taken in one house.", "By device and by scene. One model has one device.",
        "2, with seeds 4, 5", "missing from B", "Nikon D200", "a.jpg cannot be read.",
        "Maker Model 19 89 29 39", "None found.", "1" * 64, "2" * 64, "3" * 64, "B" * 64,
        "torch 2.13.0", "training.epochs 30", "The tests are small: A on 3 scenes",
    ):  # fmt: skip
        assert part in text, part
    assert "missing from C" not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"illustration": True}, "An illustration, not evidence"),
        ({"photos": {"simulated": {"scenes": 12}}}, "The photos are simulated."),
        ({"photos": {"recompress": 90}}, "recompressed at quality 90"),
        ({"split": {"by": "photo"}}, "Camera, scene and quantisation table are confounded"),
        (
            {"split": {"by": "device"}},
            "Training and test share scenes and most quantisation tables",
        ),
    ],
)
def test_what_must_not_be_relied_on_is_said(
    scores: dict[Key, Score], facts: dict[str, Any], change: Mapping[str, Any], said: str
) -> None:
    assert said not in " ".join(cautions(scores, facts))
    facts["recipe"] |= change
    assert said in " ".join(cautions(scores, facts))


def test_leaks_are_named_on_top_and_listed(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    facts["leaks"] = [f"Photo {n} is in both." for n in range(60)]
    text = Read(page(scores, findings, facts)).text
    places = [text.index(part) for part in ("Before you rely", "leaks in 60", "Of the paper's")]
    assert places == sorted(places)
    assert "Photo 49 is in both." in text
    assert "Photo 50 is in both." not in text
    assert "the first 50 are listed" in text


def test_no_name_becomes_markup(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    for task, names in facts["classes"].items():
        facts["classes"][task] = [HOSTILE + name for name in names]
        for part, counts in facts["photos"][task].items():
            facts["photos"][task][part] = {HOSTILE + name: n for name, n in counts.items()}
    facts |= {
        "study": HOSTILE, "depths": [HOSTILE, *DEPTHS[1:]], "missing": {HOSTILE: [HOSTILE]},
        "photos_left_out": [{"path": HOSTILE, "text": HOSTILE}], "leaks": [HOSTILE],
        "notes": [HOSTILE], "plan": HOSTILE, "tests": {HOSTILE: HOSTILE},
        "machine": {**facts["machine"], "processor": HOSTILE, "libraries": {HOSTILE: HOSTILE}},
    }  # fmt: skip
    facts["recipe"] |= {"note": HOSTILE, HOSTILE: [HOSTILE]}
    detail = replace(findings[0].details[0], what=HOSTILE)
    bad = Finding(HOSTILE, HOSTILE, "holds", HOSTILE, (detail,))
    key = Key("A", "transfer", "B", HOSTILE)
    text = page({**scores, key: replace(score(1, Key("A", "single", "A")), key=key)}, [bad], facts)
    read = Read(text)
    assert read.open == []
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert "49" not in "".join(part for part in read.texts if "alert" in part)
    assert "\u202e" not in text
    assert "".join(read.texts).count("<script>alert(1)</script>") > 30
    figure_csv(scores, facts)


def test_the_page_fetches_nothing_and_its_links_lead_somewhere(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    text = page(scores, findings, facts)
    read = Read(text)
    ids = [value for name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in read.attributes:
        if name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert value.startswith("#"), (name, value)
            assert value[1:] in ids, value
    assert ("http-equiv", "Content-Security-Policy") in read.attributes
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert text.count("<style") == 1
    assert not re.search(r"(fill|stroke): #(1b2733|0072b2|d55e00|ffffff)", text)


def test_made_twice_it_is_the_same(
    scores: dict[Key, Score], findings: tuple[Finding, ...], facts: dict[str, Any]
) -> None:
    assert page(scores, findings, facts) == page(scores, findings, facts)
    assert figure_3(scores, facts, "png") == figure_3(scores, facts, "png")
