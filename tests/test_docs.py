"""What the documents say agrees with what the project does."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from phototrace import cli
from phototrace.evidence.markdown import filled
from phototrace.learning.trees import ExtraTrees
from phototrace.recipes import study_path
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import check

ROOT = Path(__file__).parents[1]


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
        ("results.md", "results/real/tables.py", lambda program: program.tables()),
        (
            "results.md",
            "results/studies/tables.py",
            lambda program: program.tables("corpus") | program.tables("simulated-20-5"),
        ),
        ("results.md", "results/studies/frozen_batch_norm.py", lambda program: program.tables()),
        ("simulator.md", "results/simulator/train.py", lambda program: program.real_tables()),
        (
            "mechanisms.md",
            "results/mechanisms/mechanisms.py",
            lambda program: program.tables("real") | program.tables("simulated"),
        ),
        (
            "mechanisms.md",
            "results/mechanisms/normalisation.py",
            lambda program: program.tables("real"),
        ),
    ],
)
def test_every_table_is_what_the_stored_predictions_give(
    page: str, program: str, tables: Callable[[ModuleType], dict[str, str]]
) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    made = tables(load(program))
    assert any(f"<!-- table: {name} -->" in text for name in made)
    assert filled(text, made) == text


@pytest.mark.parametrize("study", ["corpus", "simulated-20-5"])
def test_studies_are_what_their_predictions_give(study: str) -> None:
    assert check(ROOT / "results/studies" / study, StudyRecipe.load(study_path(study))) == []


def test_readme_names_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert re.search(rf"(phototrace|make) {command.callback.__name__}\b", readme)


def test_links_between_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer scenes and trees and one epoch, so that it takes seconds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    quick = code[1].replace("scenes=8", "scenes=4, size=(192, 256)").replace(": 2,", ": 1,", 1)
    quick = quick.replace("pt.Detector(extractor)", "pt.Detector(extractor, few_trees)")
    exec(compile(quick, "README.md", "exec"), {"few_trees": ExtraTrees(n_estimators=20)})
    assert (tmp_path / "runs/first/evaluation/index.html").is_file()


def test_the_simulators_page_shows_the_measured_table() -> None:
    table = (ROOT / "results/simulator/statistics.md").read_text(encoding="utf-8")
    assert table in (ROOT / "docs/simulator.md").read_text(encoding="utf-8")
