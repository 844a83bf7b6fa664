from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phototrace.errors import UsageError
from phototrace.learning.network import BACKBONES, build_network
from phototrace.learning.recipe import Recipe
from phototrace.recipes import recipe_path, shipped_names

TWO = 'name = "a"\n[legs.manipulation]\ntask = "manipulation"\n[legs.camera]\ntask = "camera"\n'
TRUNK = "[network]\ntrunk_from = 'run'\n"
MINIMAL = 'name = "a"\n[legs.manipulation]\ntask = "manipulation"\n'


def _read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return Recipe.load(path)


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    recipe = _read(tmp_path, MINIMAL)
    training = recipe.training
    assert (training.optimizer, training.schedule) == ("sgd", "halving")
    assert (training.learning_rate, training.momentum) == (1e-3, 0.9)
    assert (training.halve_every, training.epochs) == (3, 30)
    assert recipe.legs["manipulation"].batch_size == 40
    assert (recipe.network.patch_size, recipe.network.channels) == (256, "green")
    assert training.freeze_batch_norm == 0  # the paper's batch norms follow the batch to the end


def test_a_training_has_the_recipes_seed_or_its_own(tmp_path: Path) -> None:
    assert _read(tmp_path, "seed = 4\n" + MINIMAL).training_seed == 4
    assert _read(tmp_path, "seed = 4\n" + MINIMAL + "[training]\nseed = 0\n").training_seed == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "batchsize = 3\n", ["legs.manipulation.batchsize", "'batch_size'"]),
        (MINIMAL + "[trainin]\n", ["'trainin'", "'training'"]),
        (MINIMAL + "[training]\nlerning_rate = 1\n", ["training.lerning_rate", "'learning_rate'"]),
        (MINIMAL + "[photos.simulated]\nscene = 3\n", ["photos.simulated.scene", "'scenes'"]),
        (MINIMAL + "[split]\nby = 'camera'\n", ["split.by", "'device'"]),
        (MINIMAL + "[network]\npatch_size = 100\n", ["network.patch_size", "32"]),
        (MINIMAL + "[training]\nepochs = 0\n", ["training.epochs", "0"]),
        (MINIMAL + "[training]\nepochs = true\n", ["training.epochs", "True"]),
        (MINIMAL + "[training]\nlearning_rate = inf\n", ["training.learning_rate", "finite"]),
        ("seed = '1'\n" + MINIMAL, ["seed"]),
        (MINIMAL + "classes = ['unaltered', 'unaltered']\n", ["classes", "each class once"]),
        ('name = "a"\n[legs]\n', ["legs"]),
        ("[legs.m]\ntask = 'manipulation'\n", ["'name' is missing"]),
        (MINIMAL.replace('"a"', '"../a"'), ["name"]),
        (MINIMAL.replace('"a"', '"Com1"'), ["'name' is 'Com1'", "device on Windows; choose"]),
        (MINIMAL + "editing = []\n", ["editing", "both"]),
        ("name = \n", ["not TOML"]),
        ("version = 2\n" + MINIMAL, ["version"]),
        (MINIMAL + "weight = 2\n", ["legs.manipulation.weight", "name two"]),
        (TWO, ["'network.share_depth' is missing", "legs share"]),
        (TWO + "weight = 0\n", ["legs.camera.weight", "greater than 0"]),
        (TWO + "weight = inf\n", ["legs.camera.weight", "finite"]),
        (TWO + "min_photo = 3\n", ["legs.camera.min_photo", "'min_photos'"]),
        (TWO + TRUNK + "share_depth = 'fc1'\n", ["'network.trunk_from'", "one leg"]),
        (MINIMAL + TRUNK, ["'network.share_depth' is missing", "take over"]),
        (MINIMAL + "[network]\nshare_deph = 'fc1'\n", ["share_deph'", "'share_depth'"]),
        (
            MINIMAL + "[training]\nfreeze_batch_norm = 1.0\n",
            ["training.freeze_batch_norm", "less than 1"],
        ),
        (MINIMAL + "[training]\nfreeze_batch_norm = -0.1\n", ["training.freeze_batch_norm", "0"]),
        (
            MINIMAL + "[training]\nfreeze_batch_norm = nan\n",
            ["training.freeze_batch_norm", "finite"],
        ),
        (MINIMAL + "[training]\nseed = -1\n", ["training.seed", "0"]),
        (MINIMAL + "[split]\nvalidation_devices = 1\n", ["split.validation_devices", "bool"]),
        (
            MINIMAL + "[split]\nvalidation_device = true\n",
            ["validation_device'", "'validation_devices'"],
        ),
        (MINIMAL + "photos = { train = 0 }\n", ["legs.manipulation.photos.train", "0"]),
        (MINIMAL + "photos = { all = 3 }\n", ["legs.manipulation.photos", "'train'"]),
        (MINIMAL + "without = { scene = 'x' }\n", ["legs.manipulation.without.scene", "list"]),
        (MINIMAL + "[photos.rename]\na = ['b']\n", ["photos.rename.a", "string"]),
    ],
)
def test_a_mistake_is_named_in_a_sentence(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        _read(tmp_path, text)
    assert "r.toml" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_missing_and_unreadable_recipes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no recipe .*none\.toml"):
        Recipe.load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.load(tmp_path / "latin.toml")


@given(
    name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,20}\Z"),
    where=st.dictionaries(st.text(min_size=1), st.lists(st.text(max_size=5)), max_size=3),
    classes=st.lists(st.text(max_size=8), max_size=3, unique=True),
    rate=st.floats(1e-9, 10),
)
def test_a_recipe_survives_being_written(
    name: str, where: dict[str, list[str]], classes: list[str], rate: float
) -> None:
    recipe = Recipe.parse({
        "name": name,
        "photos": {"where": where, "simulated": {"scenes": 5}, "rename": {name: "b"}},
        "split": {"by": "device", "validation_devices": False},
        "legs": {
            "camera": {
                "task": "camera", "classes": classes, "per_class": {"train": 9},
                "photos": {"test": 3}, "without": where,
            }
        },
        "training": {"learning_rate": rate, "freeze_batch_norm": 0.25, "seed": 7},
    })  # fmt: skip
    import tomllib

    assert Recipe.parse(tomllib.loads(recipe.to_toml())) == recipe


def test_every_shipped_recipe_is_valid_and_found_by_name() -> None:
    names = shipped_names().split(", ")
    assert "manipulation-128" in names
    for name in names:
        recipe = Recipe.load(recipe_path(name))
        assert recipe.name == name
        network = build_network(
            BACKBONES[recipe.network.backbone], dict.fromkeys(recipe.legs, 3), patch_size=64,
            share_depth=recipe.network.share_depth,
        )  # fmt: skip
        assert network.heads.keys() == recipe.legs.keys()
    with pytest.raises(UsageError, match="manipulation-128"):
        recipe_path("nonsense")
