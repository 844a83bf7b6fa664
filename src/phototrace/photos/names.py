"""One camera, one name: what EXIF, folders and people write in several ways is one camera model.

The table is `camera_names.toml` beside this module. A file of the same name and form in a folder
of photos adds to it when that folder is indexed. Names are applied where a manifest is made; a
manifest that exists says what it says, and names in it that may mean one camera are pointed out.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from phototrace.errors import UsageError
from phototrace.photos.photo import legible

TABLE = "camera_names.toml"
_WORD = re.compile(r"[^\s_\-/,]+")
_MOST_WORDS = 5  # of a maker: "RICOH IMAGING COMPANY, LTD."
_SERIAL = re.compile(r"(sn[_-])?(?=(.*\d){3})[0-9A-Za-z]{5,}")
Camera = tuple[str, str]
"""Make and model."""


def squashed(text: str) -> str:
    """Text without case, spaces and punctuation; a plus stays, for it makes another model."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[^\w+]|_", "", plain)


def joined(make: str, model: str) -> str:
    """Make and model without naming the make twice; "" when the model is unknown."""
    make, model = make.strip(), model.strip()
    if not make or not model or model.split()[0].lower() == make.split()[0].lower():
        return model
    return f"{make} {model}"


@dataclass(frozen=True)
class CameraNames:
    """A table of names. All keys are squashed.

    Attributes:
        makes: A maker as written -> the name used.
        models: Maker -> a model as written -> the name used.
        lines: Product line -> maker.
        endings: What may follow a model's name and is not part of it.
        folders: Word lists by which a folder's name is told from a camera's.
    """

    makes: Mapping[str, str]
    models: Mapping[str, Mapping[str, str]]
    lines: Mapping[str, str]
    endings: tuple[str, ...]
    folders: Mapping[str, frozenset[str]]

    def canonical(self, make: str, model: str) -> Camera:
        """The one name of a camera, the model without its maker: ("Canon", "EOS 350D")."""
        make, model = " ".join(make.split()), " ".join(model.split())
        make = self.makes.get(squashed(make), make)
        brand, rest = self.split_make(model)
        # The name on the camera counts: RICOH IMAGING writes PENTAX K-3.
        if brand and (
            brand == make or not make or squashed(brand) not in self.folders["ambiguous"]
        ):
            make, model = brand, rest
        elif make and model.casefold().startswith(f"{make.casefold()} "):
            model = model[len(make) :].strip()
        elif not make:
            make = self.line_of(model)
        for ending in self.endings:
            if model.casefold().endswith(f" {ending.casefold()}"):
                model = model[: -len(ending)].strip()
        return make, self.models.get(make, {}).get(squashed(model), model)

    def key(self, make: str, model: str) -> str:
        """Equal for two ways to write one camera model; "" when the model is unknown."""
        return squashed(joined(*self.canonical(make, model)))

    def split_make(self, text: str) -> Camera:
        """The maker that `text` begins with, and what follows; ("", text) where there is none."""
        words = list(_WORD.finditer(text))
        for count in range(min(_MOST_WORDS, len(words) - 1), 0, -1):
            make = self.makes.get(squashed(text[: words[count - 1].end()]))
            if make:
                return make, text[words[count].start() :].strip()
        return "", text

    def line_of(self, text: str) -> str:
        """The maker whose product line `text` begins with, or ""."""
        words = [word[0] for word in _WORD.finditer(text)]
        starts = {squashed("".join(words[:count])) for count in (1, 2)}
        if words:
            starts.add(re.sub(r"\d.*", "", squashed(words[0])))  # iPhone6
        return next((make for line, make in self.lines.items() if line in starts), "")


@cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / TABLE).read_text(encoding="utf-8"))


@cache
def _shipped_names() -> CameraNames:
    return _names([_shipped()])


def camera_names(folder: Path | None = None) -> CameraNames:
    """The shipped table, with what `camera_names.toml` in `folder` adds, if it is there.

    Raises:
        UsageError: That file cannot be read, or is no such table.
    """
    own = folder / TABLE if folder is not None else None
    if own is None or not own.is_file():
        return _shipped_names()
    return _names([_shipped(), _own_table(own)])


def _own_table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{legible(path)} cannot be read as TOML: {error}.") from None
    models = table.get("models", {})
    known = table.keys() <= {"version", "endings", "makes", "models", "lines", "folders"}
    lists = [table.get(name, {}) for name in ("makes", "lines", "folders")]
    lists += list(models.values()) if isinstance(models, dict) else [None]
    if not known or not all(map(_is_table_of_lists, lists)) or table.get("version", 1) != 1:
        raise UsageError(
            f"{legible(path)} is no table of camera names. It has tables such as "
            '[models."Canon"] with lines such as "EOS 350D" = ["EOS Kiss Digital N"].'
        )
    return table


def _is_table_of_lists(table: object) -> bool:
    return isinstance(table, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in table.values()
    )


def _names(tables: Iterable[Mapping[str, Any]]) -> CameraNames:
    makes: dict[str, str] = {}
    models: dict[str, dict[str, str]] = defaultdict(dict)
    lines: dict[str, str] = {}
    endings: list[str] = []
    folders: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        for make, others in table.get("makes", {}).items():
            makes |= {squashed(name): make for name in (make, *others)}
        for make, known in table.get("models", {}).items():
            make = makes.setdefault(squashed(make), make)
            for model, others in known.items():
                models[make] |= {squashed(name): model for name in (model, *others)}
        for make, starts in table.get("lines", {}).items():
            lines |= {squashed(line): makes.get(squashed(make), make) for line in starts}
        endings += table.get("endings", [])
        for name, words in table.get("folders", {}).items():
            folders[name] |= {squashed(word) for word in words}
    kept = {name: frozenset(words) for name, words in folders.items()}
    return CameraNames(makes, dict(models), lines, tuple(endings), kept)


def near_names(cameras: Iterable[tuple[str, str, str]], names: CameraNames) -> list[str]:
    """Sentences on names that may mean one camera, and on a serial number under two models.

    Args:
        cameras: Make, model and device of every photo.
        names: The table of names.
    """
    ways: dict[str, set[str]] = defaultdict(set)
    models: dict[str, dict[str, str]] = defaultdict(dict)
    for make, model, device in set(cameras):
        key = names.key(make, model)
        if key:
            ways[key].add(joined(make, model))
            if _SERIAL.fullmatch(device.strip()):
                models[device.strip()][key] = joined(make, model)
    notes = []
    for written in sorted(sorted(group) for group in ways.values() if len(group) > 1):
        listed = ", ".join(legible(name) for name in written)
        notes.append(
            f"{listed} look like {len(written)} names of one camera model, and count as "
            f"{len(written)} models. `rename` in a recipe's [photos] joins them."
        )
    for device, found in sorted(models.items()):
        if len(found) > 1:
            listed = ", ".join(legible(name) for name in sorted(found.values()))
            notes.append(
                f"The device {legible(device)} stands under {len(found)} camera models: {listed}. "
                "If that is its serial number, they are one camera: check their names."
            )
    return notes
