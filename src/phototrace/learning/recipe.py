"""Recipe: all choices of one training, read from TOML and validated."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from phototrace.errors import UsageError
from phototrace.learning.tasks import known_task

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


def _no_device(name: str) -> str:
    if re.fullmatch(r"con|prn|aux|nul|com\d|lpt\d", name.lower()):
        raise PydanticCustomError("device", "that names a device on Windows; choose another")
    return name


FolderName = Annotated[Name, AfterValidator(_no_device)]
"""A name that a folder can have on every system."""


class Part(BaseModel):
    """A table of a recipe: frozen, strict, no unknown keys."""

    # Strict: 1 is not "1" and true is not 1. A whole number may stand for a real one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Photos(Part):
    """Which photos take part.

    Attributes:
        manifest: Manifest file, relative to the recipe; `--photos` takes its place.
        corpus: How a folder of photos is read, as in `index`: that of `--photos`, and one that a
            run of this recipe is evaluated on.
        simulated: Make simulated photos in place of reading a manifest.
        where: Manifest columns and the values kept.
        rename: Camera models that count as another one (`"Nikon D70s" = "Nikon D70"`).
        min_photos: Camera models with fewer photos are left out.
        recompress: JPEG quality at which every photo is recompressed before patches are cut.
    """

    manifest: str | None = None
    corpus: Literal["auto", "folder", "exif", "dresden", "vision", "forchheim"] = "auto"
    simulated: Simulated | None = None
    where: dict[str, list[str]] = {}
    rename: dict[str, str] = {}
    min_photos: int = Field(default=1, ge=1)
    recompress: int | None = Field(default=None, ge=1, le=100)


class Simulated(Part):
    """Simulated photos; see `phototrace.simulate`.

    Attributes:
        scenes: Photos for each device.
        width: Of the photos, px.
        height: Of the photos, px.
        seed: Makes scenes, bodies and photos.
        models: Names of the camera models; empty takes all.
        devices: Bodies of each model; left out, all that it has.
        pictures: A folder of pictures to be the scenes, relative to the recipe.
        leave_out: Steps of the cameras that are left out, to see their worth.
    """

    scenes: int = Field(default=20, ge=3)
    width: int = Field(default=1024, ge=64)
    height: int = Field(default=768, ge=64)
    seed: int = Field(default=0, ge=0)
    models: list[str] = []
    devices: int | None = Field(default=None, ge=1)
    pictures: str | None = None
    leave_out: list[str] = []


class SplitChoice(Part):
    """How photos are split: `by` photo, device, scene, or device and scene.

    `validation_devices`: with "device", whether a third device of a model is for validation; else
    photos of the training devices are, as where there is no third one.
    """

    by: Literal["photo", "device", "scene", "device and scene"] = "photo"
    validation: float = Field(allow_inf_nan=False, default=0.1, gt=0, lt=1)
    test: float = Field(allow_inf_nan=False, default=0.2, gt=0, lt=1)
    test_devices: list[str] = []
    validation_devices: bool = True


class NetworkChoice(Part):
    """The network, and what of it is shared.

    Attributes:
        backbone: By name.
        patch_size, channels: The patches it takes.
        preset: `modern` or `caffe`.
        share_depth: The last stage that legs share, or that a transfer takes over.
        trunk_from: Folder of the run whose stages up to `share_depth` are taken over and kept as
            they are (transfer learning), relative to the recipe.
    """

    backbone: str = "mislnet"
    patch_size: int = Field(default=256, ge=64, multiple_of=32)
    channels: Literal["green", "rgb"] = "green"
    preset: Literal["modern", "caffe"] = "modern"
    share_depth: str | None = None
    trunk_from: str | None = None


class LegChoice(Part):
    """One task of the training and how its patches are cut.

    Attributes:
        task: By name: `manipulation`, `camera`, `make`, `edit`, `recompressed`, `jpeg-quality`.
        classes: Class names in order; empty takes all that the task, or the photos, have.
        where: Manifest columns and the values kept, among the photos of the recipe.
        without: Manifest columns and the values left out.
        min_photos: Camera models with fewer of these photos are left out.
        blocks: `central` (nine central blocks) or `random` (non-overlapping).
        blocks_per_photo: For random blocks, the most from one photo; 0 takes all that fit.
        per_class: The most patches of each class by part (`train`, `validation`, `test`).
        photos: The most photos by part, drawn from all; parts left out take all.
        balance: How classes count alike where photos give the label. `draw`: in training, classes
            are drawn equally often, and so are the devices of a class, within a bound; all patches
            train and test. `cut`: patches are left out until every class has as many in each part,
            as in the paper.
        editing: Where edits give the label: `block`, `region`, or both.
        batch_size: Patches of this leg in one step.
        weight: lambda_t of the paper's Eq. 6: how much this leg moves the stages that legs share.
        patches_of: The leg whose patches this one takes, with labels of its own: they go through
            the shared stages once. `where` and `without` say which of them have a label here.
    """

    task: str
    patches_of: Name | None = None
    classes: list[str] = []
    where: dict[str, list[str]] = {}
    without: dict[str, list[str]] = {}
    min_photos: int = Field(default=1, ge=1)
    blocks: Literal["central", "random"] = "central"
    blocks_per_photo: int = Field(default=0, ge=0)
    per_class: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = {}
    photos: dict[Literal["train", "validation", "test"], Annotated[int, Field(ge=1)]] = {}
    balance: Literal["draw", "cut"] = "draw"
    editing: list[Literal["block", "region"]] = ["block"]
    batch_size: int = Field(default=40, ge=2)
    weight: float = Field(allow_inf_nan=False, default=1.0, gt=0)

    _known = field_validator("task")(known_task)

    @field_validator("classes")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("name each class once")
        return value

    @field_validator("editing")
    @classmethod
    def _some_editing(cls, value: list[str]) -> list[str]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name 'block', 'region', or both, each once")
        return value


_OF_ITS_OWN = {"task", "classes", "where", "without", "min_photos", "weight", "patches_of"}
"""What a leg says for itself that takes another one's patches."""


class TrainingChoice(Part):
    """The optimiser and its schedule.

    Attributes:
        optimizer: `sgd` (the paper: momentum 0.9) or `adamw`.
        schedule: `halving` (the paper: halved every `halve_every` epochs) or `one-cycle`.
        learning_rate: Base rate, or the highest of the cycle.
        weight_decay: Of weights; biases and batch-norm have none.
        epochs: Passes over the longest leg.
        freeze_batch_norm: Share of the steps, the last ones, in which batch norms keep their
            running averages and normalise by them, in training as at test. The paper's is 0.
        seed: Of initial weights and the order of patches; left out, the recipe's.
        precision: `auto` takes bfloat16 autocast where the processor computes in it.
        patches: `fixed`: cut once, the same in every epoch, as in the paper. `fresh`: cut and
            edited again in every epoch, anywhere in their photos; validation and test stay fixed.
        turned: Fresh patches are flipped and turned by quarters at random.
        trunk_store_gb: In a transfer, the frozen trunk's output is stored once, and only the head
            trains, where it takes no more than this many gigabytes; else the trunk runs each epoch.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["halving", "one-cycle"] = "halving"
    learning_rate: float = Field(allow_inf_nan=False, default=1e-3, gt=0)
    momentum: float = Field(allow_inf_nan=False, default=0.9, ge=0, lt=1)
    weight_decay: float = Field(allow_inf_nan=False, default=0.0, ge=0)
    halve_every: int = Field(default=3, ge=1)
    epochs: int = Field(default=30, ge=1)
    freeze_batch_norm: float = Field(allow_inf_nan=False, default=0.0, ge=0, lt=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    patches: Literal["fixed", "fresh"] = "fixed"
    turned: bool = False
    trunk_store_gb: float = Field(allow_inf_nan=False, default=8.0, ge=0, le=1e6)


class Recipe(Part):
    """All choices of one training. `Recipe.load(path)` reads TOML; `to_toml` writes it back."""

    version: Literal[1] = 1
    name: FolderName
    seed: int = Field(default=0, ge=0, lt=2**63)
    photos: Photos = Photos()
    split: SplitChoice = SplitChoice()
    network: NetworkChoice = NetworkChoice()
    legs: dict[Name, LegChoice] = Field(min_length=1)
    training: TrainingChoice = TrainingChoice()

    @model_validator(mode="after")
    def _legs_and_depth_agree(self) -> Recipe:
        depth, trunk = self.network.share_depth, self.network.trunk_from
        if len(self.legs) > 1 and trunk is not None:
            raise ValueError(
                "'network.trunk_from' is for one leg: above a frozen trunk, legs have nothing "
                "in common. Write a recipe for each."
            )
        if len(self.legs) > 1 and depth is None:
            raise ValueError("'network.share_depth' is missing: the last stage that legs share.")
        if trunk is not None and depth is None:
            raise ValueError("'network.share_depth' is missing: the last stage to take over.")
        if self.training.turned and self.training.patches == "fixed":
            raise ValueError("'training.turned' is for fresh patches: set training.patches.")
        for name, leg in self.legs.items():
            if len(self.legs) == 1 and leg.weight != 1:
                raise ValueError(f"'legs.{name}.weight' weighs a leg against others: name two.")
        return self

    @model_validator(mode="after")
    def _patches_are_of_a_leg_with_its_own(self) -> Recipe:
        for name, leg in self.legs.items():
            of = leg.patches_of
            if of is None:
                continue
            if of not in self.legs or self.legs[of].patches_of is not None:
                owners = [n for n, other in self.legs.items() if other.patches_of is None]
                raise ValueError(
                    f"'legs.{name}.patches_of' is {of!r}, which is no leg with patches of its own. "
                    f"Choose among {', '.join(owners)}."
                )
            plain = LegChoice(task=leg.task)
            given = [
                key for key in LegChoice.model_fields
                if key not in _OF_ITS_OWN and getattr(leg, key) != getattr(plain, key)
            ]  # fmt: skip
            if given:
                raise ValueError(
                    f"'legs.{name}' takes the patches of {of!r}, whose {given[0]} counts. Leave "
                    f"'{given[0]}' out."
                )
        return self

    def cutting(self, leg: str) -> LegChoice:
        """How a leg's patches are chosen and cut where it is tested alone: as its owner's."""
        own = self.legs[leg]
        if own.patches_of is None:
            return own
        owner = self.legs[own.patches_of]
        return owner.model_copy(update={
            "task": own.task, "classes": own.classes, "weight": own.weight,
            "where": {**owner.where, **own.where}, "without": {**owner.without, **own.without},
            "min_photos": own.min_photos,
        })  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read and validate a recipe.

        Raises `UsageError` that names the file, the key, and the nearest key where one is unknown.
        """
        return cls.parse(read_toml(path), str(path))

    @classmethod
    def parse(cls, data: dict[str, Any], where: str = "the recipe") -> Recipe:
        """Validate the values of a recipe; `where` is what errors call it."""
        return validated(cls, data, where)

    @property
    def training_seed(self) -> int:
        """Seed of initial weights and of the order of patches."""
        return self.seed if self.training.seed is None else self.training.seed

    def choices(self) -> dict[str, Any]:
        """All that the recipe says as plain values, but for what hashes of trunk and photos say."""
        apart = {"network": {"trunk_from"}, "photos": {"corpus"}}
        return self.model_dump(mode="json", exclude=apart)

    def to_toml(self) -> str:
        """The recipe as TOML with every choice written out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a recipe file; raises `UsageError` where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no recipe {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe {path} is not TOML: {error}.") from None


Kind = TypeVar("Kind", bound=Part)


def validated(kind: type[Kind], data: dict[str, Any], where: str) -> Kind:
    """`data` as a recipe of a kind; raises `UsageError` with the first mistake in a sentence."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"In {where}: {_explain(error, kind)}") from None


def _explain(error: ValidationError, kind: type[Part]) -> str:
    """The first mistake in a sentence."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place)
    own = first.get("ctx", {}).get("error")  # of a rule of ours, about a whole table
    if own is not None and (not place or isinstance(first.get("input"), dict)):
        return str(own)
    if not place:
        return f"{first['msg']}."
    if first["type"] == "extra_forbidden":
        known = _known_keys(kind, place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1, cutoff=0.0)
        return f"there is no key {key!r}; did you mean {near[0]!r}?" if near else f"no key {key!r}."
    if first["type"] == "missing":
        return f"{key!r} is missing."
    return f"{key!r} is {first.get('input')!r}: {first['msg'][:1].lower()}{first['msg'][1:]}."


def _known_keys(kind: type[Part], place: list[str]) -> list[str]:
    model: Any = kind
    for part in place:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if part in ("legs",):
            continue
        if field is None:
            model = LegChoice
            continue
        inner = (field.annotation, *getattr(field.annotation, "__args__", ()))
        model = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), model)
    return list(model.model_fields)
