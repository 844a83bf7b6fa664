"""The paper's own protocol, every line of it, on a tiny tree laid out as the Dresden database."""

import csv
import shutil
from pathlib import Path

import pytest

from phototrace.learning.recipe import validated
from phototrace.photos.manifest import Manifest
from phototrace.recipes import study_path
from phototrace.study.paper import Key
from phototrace.study.plan import plan_study
from phototrace.study.recipe import StudyRecipe
from phototrace.study.reproducing import check, reproduce
from phototrace.study.running import study_photos

NAMES = {
    "Alder A10": "Canon_Ixus70",
    "Birch Pro 5": "Rollei_RCP-7325XS",
    "Cedar S3": "Nikon_D70",
    "Dogwood X1": "Sony_DSC-W170",
}


@pytest.fixture(scope="module")
def dresden(tiny_photos: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated photos under Dresden's names, in folders of their own, with an index beside."""
    root = tmp_path_factory.mktemp("mirror")
    scenes = sorted({p.scene for p in tiny_photos.photos})
    devices = sorted({(p.camera, p.device) for p in tiny_photos.photos})
    rows = []
    for number, photo in enumerate(tiny_photos.photos):
        make, model = NAMES[photo.camera].split("_")
        own = [device for camera, device in devices if camera == photo.camera]
        name = f"{make}_{model}_{own.index(photo.device)}_{number}.JPG"
        folder = root / "natural" / f"{make} {model}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tiny_photos.path_of(photo), folder / name)
        rows.append([name, make, model, 0, number, scenes.index(photo.scene), "here", 1, "this"])
    head = "filename brand model instance shot position_num position_name motive_num motive_name"
    with (root / "natural" / "dresden.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head.split(), *rows])
    return root / "natural"


def cut(sizes: dict[str, object]) -> StudyRecipe:
    """The paper's recipe with other sizes and nothing else changed."""
    data = StudyRecipe.load(study_path("paper")).model_dump(exclude_none=True)
    data["network"]["patch_size"] = 64
    data["depths"] = ["constr", "fc2"]
    data["split"]["validation"] = 0.2  # 2 % of ten photos are none
    for task, per_class in sizes.items():
        data["tasks"][task]["per_class"] = per_class
    data["tasks"]["A"]["photos"] = {"train": 5, "test": 4}
    for training in ("training", "transfer"):
        data[training]["epochs"] = 1
    data["transfer"]["batch_size"] = 20
    data["trees"]["number"] = 5
    return validated(StudyRecipe, data, "cut")


FEW = {"train": 40, "validation": 4, "test": 8}
SIZES: dict[str, object] = {"A": {"train": 30, "validation": 4, "test": 6}, "B": FEW, "C": FEW}


def test_the_papers_plan_on_a_tiny_dresden_tree(dresden: Path, tmp_path: Path) -> None:
    recipe = cut(SIZES)
    plan = plan_study(recipe, study_photos(recipe, Path(), dresden, tmp_path))
    assert plan.experiment.tasks["B"].classes == ("Canon Ixus70", "Rollei RCP-7325XS")
    assert plan.experiment.tasks["C"].classes == ("Nikon D70", "Sony DSC-W170")
    assert len(plan.missing["B"]) == 18
    assert plan.missing["C"] == ["HTC One M7", "Mot. Droid Maxx", "Samsung Galaxy S2"]
    assert len(plan.trainings) == 5 + 3 * 2  # at each of two depths: A+B, and both transfers
    for task, count in (("A", 6 * 6), ("B", 8 * 2), ("C", 8 * 2)):
        assert len(plan.tests[task]) == count
        devices = {p.device_id for p in plan.tests[task].manifest.photos}
        assert not devices & {
            p.device_id for made in plan.experiment.plans.values() for p in made.manifest.photos
        }


@pytest.mark.slow
def test_the_papers_protocol_on_a_tiny_dresden_tree(dresden: Path, tmp_path: Path) -> None:
    recipe = cut(SIZES)
    photos = study_photos(recipe, Path(), dresden, tmp_path)
    assert {p.corpus for p in photos.photos} == {"dresden"}
    results = reproduce(recipe, photos, tmp_path / "study")
    facts = results.facts
    assert facts["classes"]["B"] == ["Canon Ixus70", "Rollei RCP-7325XS"]
    assert facts["classes"]["C"] == ["Nikon D70", "Sony DSC-W170"]
    assert len(facts["missing"]["B"]) == 18
    assert facts["missing"]["C"] == ["HTC One M7", "Mot. Droid Maxx", "Samsung Galaxy S2"]
    assert set(facts["photos"]["A"]["train"].values()) == {5}
    assert set(facts["photos"]["A"]["test"].values()) == {4}
    assert results.scores[Key("C", "trees", "A+B+C")].accuracy.photos > 0
    for key in (Key("A", "single", "A"), Key("B", "single", "B"), Key("C", "single", "C")):
        assert results.scores[key].accuracy.devices <= 2  # one a model, and A's from both of B's
    assert check(tmp_path / "study") == []
    page = (tmp_path / "study" / "index.html").read_text(encoding="utf-8")
    assert "Samsung Galaxy S2" in page  # named as missing
