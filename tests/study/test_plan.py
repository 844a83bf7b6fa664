"""What a plan holds, and what keeps test photos apart."""

from collections import Counter
from dataclasses import replace

import pytest

from phototrace.errors import UsageError
from phototrace.learning.recipe import validated
from phototrace.photos.manifest import Manifest
from phototrace.study.counts import photos_per_class
from phototrace.study.plan import StudyPlan, plan_study
from phototrace.study.recipe import TASKS, StudyRecipe


def changed(recipe: StudyRecipe, **parts: object) -> StudyRecipe:
    data = recipe.model_dump(exclude_none=True)
    for name, value in parts.items():
        data[name] = {**data[name], **value} if isinstance(value, dict) else value
    return validated(StudyRecipe, data, "changed")


def with_task(recipe: StudyRecipe, name: str, **choices: object) -> StudyRecipe:
    return changed(recipe, tasks={name: {**recipe.tasks.model_dump()[name], **choices}})


@pytest.fixture(scope="module")
def plan(tiny: StudyRecipe, tiny_photos: Manifest) -> StudyPlan:
    return plan_study(changed(tiny, depths=[]), tiny_photos)


def test_the_papers_25_trainings_and_11_forests(plan: StudyPlan) -> None:
    ways = Counter(one.way for one in plan.trainings)
    assert ways == {"single": 3, "transfer": 14, "multitask": 8, "longer": 1}
    both = Counter((one.features, one.targets) for one in plan.trainings if one.way == "transfer")
    assert both == {("A", ("B",)): 7, ("B", ("A",)): 7}
    assert len(plan.forests) == 11
    assert Counter(forest.target for forest in plan.forests) == {"A": 3, "B": 3, "C": 5}
    names = [one.name for one in plan.trainings] + [one.name for one in plan.forests]
    assert len(set(names)) == 37


def test_retrained_parameters_by_depth(plan: StudyPlan) -> None:
    """At 64 px fc1 takes 128 inputs; above fc2 there is 200 x classes + classes alone."""
    found = {one.depth: one.retrained["A"] for one in plan.trainings
             if one.way == "transfer" and one.targets == ("A",)}  # fmt: skip
    assert found["fc2"] == 201 * 6
    assert found["fc1"] == 201 * 6 + 201 * 200
    assert found["conv4"] == 201 * 6 + 201 * 200 + 129 * 200
    whole = next(one.retrained["A"] for one in plan.trainings if one.label == "A")
    assert found["constr"] == whole - 3 * 25
    assert list(found.values()) == sorted(found.values())  # planned from fc2 up to constr


def test_no_photo_that_tests_any_task_trains_another(plan: StudyPlan) -> None:
    tested = {p.sha256 for found in plan.tests.values() for p in found.manifest.photos}
    trained = {p.sha256 for found in plan.experiment.plans.values() for p in found.manifest.photos}
    assert tested
    assert trained
    assert not tested & trained
    devices = {p.device_id for found in plan.tests.values() for p in found.manifest.photos}
    trained = {
        p.device_id for found in plan.experiment.plans.values() for p in found.manifest.photos
    }
    assert not devices & trained  # the split is by device and scene


def test_a_and_b_leave_cameras_of_c_out(plan: StudyPlan) -> None:
    few = set(plan.experiment.tasks["C"].classes)
    for task in ("A", "B"):
        found = (*plan.experiment.plans[task].manifest.photos, *plan.tests[task].manifest.photos)
        assert not few & {p.camera for p in found}
    assert set(plan.experiment.tasks["B"].classes) == {"Alder A10", "Birch Pro 5"}


def test_every_class_is_tested_on_as_many_patches(plan: StudyPlan) -> None:
    for task in TASKS:
        assert len(set(plan.tests[task].count("test").tolist())) == 1
        assert min(photos_per_class(plan, task, "train").values()) > 0


def test_the_small_task_shows_its_patches_about_once_an_epoch(plan: StudyPlan) -> None:
    three = next(one for one in plan.trainings if one.features == "A+B+C")
    steps = three.steps / three.recipe.training.epochs
    assert steps * three.recipe.legs["C"].batch_size / three.patches["C"] == pytest.approx(
        1, abs=0.5
    )
    longer = next(one for one in plan.trainings if one.way == "longer")
    assert longer.steps == pytest.approx(three.steps, rel=0.3)


def test_alone_a_task_gets_as_many_passes_as_in_a_and_b(
    tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    """Two steps of B to six of A: together B is shown three times an epoch."""
    few = with_task(tiny, "B", per_class={"train": 12, "validation": 4, "test": 8})
    made = {one.label: one for one in plan_study(few, tiny_photos).trainings}
    assert made["A"].patches["A"] / made["B"].patches["B"] == 4
    assert made["B"].recipe.training.epochs == 3 * tiny.training.epochs  # 6 steps to 2
    assert made["B"].steps == made["A+B at fc2"].steps
    assert made["A"].recipe.training.epochs == tiny.training.epochs
    assert made["A to B at fc2"].recipe.training.epochs == 3 * tiny.transfer.epochs


def test_longer_training_halves_as_much_later(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    halving = changed(tiny, training={"schedule": "halving", "halve_every": 1, "epochs": 2})
    made = plan_study(halving, tiny_photos).trainings
    alone = next(one for one in made if one.label == "C")
    longer = next(one for one in made if one.way == "longer")
    factor = longer.recipe.training.epochs / alone.recipe.training.epochs
    assert factor > 2
    assert longer.recipe.training.halve_every == pytest.approx(factor, abs=1)


def test_seeds_change_trainings_and_not_the_test(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    made = plan_study(tiny, tiny_photos, seeds=3)
    once = plan_study(tiny, tiny_photos)
    assert made.seeds == (1, 2, 3)
    assert len(made.trainings) == 3 * len(once.trainings)
    assert {one.name for one in once.trainings} < {one.name for one in made.trainings}
    assert made.experiment.split.hash == once.experiment.split.hash
    assert [p.hash for p in made.tests.values()] == [p.hash for p in once.tests.values()]
    assert {one.recipe.seed for one in made.trainings} == {1}
    assert {one.recipe.training.seed for one in made.trainings} == {1, 2, 3}


def test_a_name_tells_choices_and_photos(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    def names(recipe: StudyRecipe, photos: Manifest) -> set[str]:
        return {one.name for one in plan_study(recipe, photos).trainings}

    first = names(tiny, tiny_photos)
    assert first == names(changed(tiny, name="another", note="x"), tiny_photos)
    assert first == names(changed(tiny, trees={"number": 5}), tiny_photos)
    faster = names(changed(tiny, transfer={"learning_rate": 1e-4}), tiny_photos)
    assert len(first & faster) == len([n for n in first if "-to-" not in n])
    fewer = replace(tiny_photos, photos=tiny_photos.photos[:-1])
    assert not first & names(tiny, fewer)


def test_a_forests_name_tells_what_it_grows_on(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    """A scene that trains is left out of C: its test stays, its trees must not."""
    plan = plan_study(tiny, tiny_photos)
    scene = plan.experiment.plans["C"].manifest.photos[0].scene
    other = plan_study(with_task(tiny, "C", without={"scene": [scene]}), tiny_photos)
    assert other.tests["C"].hash == plan.tests["C"].hash
    assert other.hash != plan.hash
    same = {one.name for one in plan.forests} & {one.name for one in other.forests}
    assert {name.split("-")[1] for name in same} == {"A", "B"}


def test_photos_of_unknown_cameras_train_neither_a_nor_b(
    tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    by_photo = changed(tiny, split={"by": "photo"})
    few = next(p for p in tiny_photos.photos if p.camera == "Cedar S3")
    unknown = replace(few, make="", model="")
    photos = tuple(unknown if p is few else p for p in tiny_photos.photos)
    plan = plan_study(by_photo, replace(tiny_photos, photos=photos))
    for task in ("A", "B"):
        found = (plan.experiment.plans[task], plan.tests[task])
        assert few.sha256 not in {p.sha256 for one in found for p in one.manifest.photos}
    nameless = tuple(replace(p, make="", model="") for p in tiny_photos.photos)
    with pytest.raises(UsageError, match="No photo says which camera took it"):
        plan_study(by_photo, replace(tiny_photos, photos=nameless))


def test_weights_are_for_trainings_of_several_tasks(
    tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    made = plan_study(with_task(tiny, "A", weight=2.0), tiny_photos).trainings
    found = {one.label: one.recipe.legs["A"].weight for one in made if "A" in one.targets}
    assert found["A"] == 1
    assert found["A+B at fc2"] == 2


def test_classes_that_the_photos_lack_are_named_and_left_out(
    tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    recipe = with_task(tiny, "C", classes=["Cedar S3", "Nikon D70", "Dogwood X1", "HTC One M7"])
    made = plan_study(recipe, tiny_photos)
    assert made.missing["C"] == ["Nikon D70", "HTC One M7"]
    assert made.experiment.tasks["C"].classes == ("Cedar S3", "Dogwood X1")
    with pytest.raises(UsageError, match=r"Task C has 1 of its camera models.*missing: Nikon D70"):
        plan_study(with_task(tiny, "C", classes=["Cedar S3", "Nikon D70"]), tiny_photos)
    with pytest.raises(UsageError, match="Dogwood X1 is a class of B and of C"):
        plan_study(with_task(tiny, "B", classes=["Alder A10", "Dogwood X1"]), tiny_photos)


def test_a_collection_too_small_for_the_split(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    ours = [p for p in tiny_photos.photos if p.camera == "Cedar S3"]
    left = [p for p in tiny_photos.photos if p not in ours or p.device == ours[0].device]
    with pytest.raises(UsageError, match=r"Task C: The test part has no patch of Cedar S3"):
        plan_study(tiny, replace(tiny_photos, photos=tuple(left)))
    scene = tiny_photos.photos[0].scene
    few = tuple(p for p in tiny_photos.photos if p.scene == scene)
    with pytest.raises(UsageError, match=r"leaves the .* part empty"):
        plan_study(tiny, replace(tiny_photos, photos=few))


def test_a_model_of_too_few_photos_is_no_class(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    strange = replace(tiny_photos.photos[0], id="f" * 16, sha256="f" * 64, make="", model="X 1")
    manifest = replace(tiny_photos, photos=(*tiny_photos.photos, strange))
    few = changed(
        tiny, photos={"min_photos": 2}, tasks={"B": {**tiny.tasks.B.model_dump(), "classes": []}}
    )
    plan = plan_study(few, manifest)
    assert "X 1" not in plan.experiment.tasks["B"].classes
    assert any("fewer than 2 photos are left out: 1 models" in n for n in plan.experiment.notes)


def test_fewer_patches_than_a_batch_are_found_before_any_training(
    tiny: StudyRecipe, tiny_photos: Manifest
) -> None:
    with pytest.raises(
        UsageError, match="The task 'B' has 24 training patches, fewer than its batch of 99"
    ):
        plan_study(changed(tiny, transfer={"batch_size": 99}), tiny_photos)


def test_recipes_that_make_no_study(tiny: StudyRecipe, tiny_photos: Manifest) -> None:
    with pytest.raises(UsageError, match="needs 'fc2'"):
        plan_study(changed(tiny, depths=["constr", "conv1"]), tiny_photos)
    with pytest.raises(UsageError, match="no share depth 'conv9'"):
        plan_study(changed(tiny, depths=["conv9", "fc2"]), tiny_photos)
    with pytest.raises(UsageError, match="two or more"):
        changed(tiny, depths=["fc2"])
    with pytest.raises(UsageError, match=r"'training\.seed' is the study's 'seed'"):
        changed(tiny, training={"seed": 3})
    with pytest.raises(UsageError, match="'seed' is"):
        changed(tiny, seed=2**32)
    with pytest.raises(UsageError, match=r"'tasks\.A\.task' must be about manipulations"):
        with_task(tiny, "A", task="camera")
    with pytest.raises(UsageError, match=r"no key 'tasks\.B\.clases'; did you mean 'classes'"):
        with_task(tiny, "B", clases=["x"])
