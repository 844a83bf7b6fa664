"""What the documents say agrees with what the project does."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import typer
from typer.core import TyperGroup

from phototrace import cli
from phototrace.evidence.markdown import filled
from phototrace.learning.recipe import Recipe
from phototrace.learning.tasks import TASKS
from phototrace.learning.trees import ExtraTrees
from phototrace.photos.decoding import PIXEL_LIMIT
from phototrace.recipes import study_path
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import check

ROOT = Path(__file__).parents[1]
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted(ROOT.glob("docs/*.md"))]
RECIPES = sorted([*ROOT.glob("src/**/*.toml"), *ROOT.glob("results/**/*.toml")])
TEMPLATES = sorted(ROOT.glob("src/**/templates/*.html"))
DIALECT = re.compile(
    r"\b(taught|teach(es|ing)?|tun(e|ed|es|ing)|settl(e|ed|es|ing)|anew|kept apart|one's own|"
    r"saved again|named (correctly|rightly)|put to the test)\b",
    re.IGNORECASE,
)
"""Words that the field has others for: trained, frozen, recompressed, accuracy, split by."""


def load(path: str) -> ModuleType:
    """A program that makes a page's tables."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "program", "tables"),
    [
        ("README.md", "results/real/tables.py", lambda program: program.tables()),
        ("docs/results.md", "results/real/tables.py", lambda program: program.tables()),
        (
            "docs/results.md",
            "results/studies/tables.py",
            lambda program: program.tables("corpus") | program.tables("simulated-20-5"),
        ),
        (
            "docs/results.md",
            "results/studies/frozen_batch_norm.py",
            lambda program: program.tables(),
        ),
        ("docs/results.md", "results/fresh/fresh.py", lambda program: program.tables()),
        ("docs/simulator.md", "results/simulator/train.py", lambda program: program.real_tables()),
        (
            "docs/mechanisms.md",
            "results/mechanisms/mechanisms.py",
            lambda program: program.tables("real") | program.tables("simulated"),
        ),
        (
            "docs/mechanisms.md",
            "results/mechanisms/normalisation.py",
            lambda program: program.tables("real"),
        ),
    ],
)
def test_every_table_is_what_the_stored_predictions_give(
    page: str, program: str, tables: Callable[[ModuleType], dict[str, str]]
) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    made = tables(load(program))
    assert any(f"<!-- table: {name} -->" in text for name in made)
    assert filled(text, made) == text


@pytest.mark.parametrize("study", ["corpus", "simulated-20-5"])
def test_studies_are_what_their_predictions_give(study: str) -> None:
    assert check(ROOT / "results/studies" / study, StudyRecipe.load(study_path(study))) == []


def test_the_page_on_photos_states_the_limit() -> None:
    text = (ROOT / "docs/photos.md").read_text(encoding="utf-8")
    assert f"at most {PIXEL_LIMIT // 1_000_000} megapixels" in text


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert re.search(rf"(phototrace|make) {command.callback.__name__}\b", readme)


def test_links_between_documents_lead_somewhere() -> None:
    for page in PAGES:
        targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        assert targets or page.name not in ("README.md", "CONTRIBUTING.md")
        for target in targets:
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("page", [*PAGES, *RECIPES, *TEMPLATES], ids=lambda page: page.name)
def test_no_word_of_a_dialect(page: Path) -> None:
    found = [match[0] for match in DIALECT.finditer(page.read_text(encoding="utf-8"))]
    assert not found


def test_no_word_of_a_dialect_in_code() -> None:
    found = {
        f"{path.name}: {match[0]}"
        for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("results/**/*.py")]
        for match in DIALECT.finditer(path.read_text(encoding="utf-8"))
    }
    assert not found


def test_the_recipe_of_the_page_on_trainings_is_one() -> None:
    text = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    recipes = [block for block in blocks if "name = " in block]
    assert recipes
    for block in recipes:
        assert len(Recipe.parse(tomllib.loads(block)).legs) == 3
    for name in ("edit", "recompressed", "jpeg-quality", "make"):
        assert f"| `{name}` |" in text
        assert name in TASKS


def help_texts() -> dict[str, str]:
    """The help of the command line and of each command, with all of their options."""
    whole = typer.main.get_command(cli.app)
    assert isinstance(whole, TyperGroup)
    texts = {"phototrace": whole.help or ""}
    for name, command in whole.commands.items():
        helps = [getattr(parameter, "help", None) or "" for parameter in command.params]
        texts[name] = "\n".join([command.help or "", *helps])
    return texts


def test_help_is_in_plain_words_with_an_example() -> None:
    for name, text in help_texts().items():
        assert not DIALECT.search(text), name
        if name != "phototrace":
            first, rest = text.split("\n", 1)
            assert first.endswith(".")
            assert len(first) <= 60, first  # longer ones are cut in the list of commands
            assert f"phototrace {name}" in rest


def test_the_citation_is_of_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(": ", 1) for line in lines if re.match(r"\w[\w-]*: ", line))
    wanted = {"cff-version", "message", "title", "version", "license"}
    assert wanted <= facts.keys()
    assert facts["cff-version"] == "1.2.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (facts["version"], facts["license"]) == (project["version"], project["license"])
    assert f"  - name: {project['authors'][0]['name']}" in lines
    assert "    doi: 10.1145/3206004.3206022" in lines
    assert not any("\t" in line for line in lines)


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer scenes and trees and one epoch, so that it takes seconds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    quick = code.replace("scenes=8", "scenes=4, size=(192, 256)").replace(": 2,", ": 1,", 1)
    quick = quick.replace("pt.Detector(extractor)", "pt.Detector(extractor, few_trees)")
    exec(compile(quick, "README.md", "exec"), {"few_trees": ExtraTrees(n_estimators=20)})
    for made in (
        "runs/first/evaluation/index.html",
        "my-model/model.json",
        "patches/index.parquet",
    ):
        assert (tmp_path / made).is_file()


def test_the_simulators_page_shows_the_measured_table() -> None:
    table = (ROOT / "results/simulator/statistics.md").read_text(encoding="utf-8")
    assert table in (ROOT / "docs/simulator.md").read_text(encoding="utf-8")
