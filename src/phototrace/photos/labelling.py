"""Whose photo is it: what a photo's folders say of its camera, held against what its EXIF says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from phototrace.photos.corpora.places import Place, contradicts, device_of, place_of
from phototrace.photos.manifest import PhotoRecord, Problem
from phototrace.photos.names import CameraNames, joined, near_names
from phototrace.photos.photo import legible
from phototrace.photos.reading import Facts


@dataclass
class Labelling:
    """Labels the photos of one folder, and gathers what there is to say of them.

    Attributes:
        corpus: How the folder is read.
        names: One name for each camera.
        contradictions: Photos whose EXIF names another camera than their folder.
        notes: Sentences on the folder as a whole, once `finished` was called.
    """

    corpus: str
    names: CameraNames
    contradictions: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _by_folder: set[str] = field(default_factory=set)
    _bodies: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    _unknown: list[str] = field(default_factory=list)
    _compared: int = 0

    def label(self, row: PhotoRecord, facts: Facts) -> PhotoRecord:
        """The row with make, model and device, from its folders and from EXIF."""
        if self.corpus == "auto":
            return self._by_exif_first(row, facts)
        return self._by_layout_first(row, facts)

    def finished(self, rows: Iterable[PhotoRecord]) -> list[PhotoRecord]:
        """The rows with one spelling and one device where folders and EXIF say the same.

        Takes all rows that were labelled, and writes `notes`.
        """
        rows = list(rows)
        if self.corpus == "auto":
            rows = self._devices_by_serial(self._spelled_as_in_exif(rows))
        if self.corpus == "folder" and 2 * len(self.contradictions) > self._compared:
            self.notes.append(
                f"{len(self.contradictions)} of {self._compared} photos with a camera in EXIF lie "
                f"in a folder that names another one. The first: {self.contradictions[0].text} To "
                "take the camera from EXIF, say --corpus auto, or --corpus exif."
            )
            self.contradictions.clear()
        self.notes += near_names(((r.make, r.model, r.device) for r in rows), self.names)
        return rows

    def on_unknown(self, kept: Iterable[PhotoRecord]) -> Iterator[str]:
        """A note on the photos of unknown camera among those that are kept."""
        paths = {row.path for row in kept}
        unknown = [path for path in self._unknown if path in paths]
        if not unknown:
            return
        subject = "1 photo is" if len(unknown) == 1 else f"{len(unknown)} photos are"
        text = f"{subject} of unknown camera: EXIF names none"
        first = f"The first: {legible(unknown[0])}."
        if self.corpus != "auto":
            yield f"{text}. {first}"
            return
        yield (
            f"{text}, and no folder is plainly a camera's. {first} Where every folder is named for "
            "a camera, say --corpus folder."
        )

    def _by_exif_first(self, row: PhotoRecord, facts: Facts) -> PhotoRecord:
        folders = PurePosixPath(row.path).parts[:-1]
        make, model = self.names.canonical(facts.make, facts.model)
        place = place_of(folders, self.names)
        other = place is not None and contradicts(place, make, model, self.names)
        if place is not None and other:
            self._contradict(row.path, place, joined(make, model) or make, "EXIF")
        named = place is not None and bool(place.model) and not other
        if not model and not named:
            self._unknown.append(row.path)
            return replace(row, device=facts.serial)
        if not model:
            assert place is not None
            self._by_folder.add(row.path)
            make, model = place.make, place.model
        key = self.names.key(make, model)
        device = device_of(folders, key, self.names)
        if not device and place is not None and named:
            device = place.device  # the camera's other name: a Galaxy S7 is an SM-G930V
        self._bodies[row.path] = key, device, facts.serial
        return replace(row, make=make, model=model, device=facts.serial or device)

    def _by_layout_first(self, row: PhotoRecord, facts: Facts) -> PhotoRecord:
        exif = self.names.canonical(facts.make, facts.model)
        row = replace(row, device=row.device or facts.serial)
        if not row.model:
            same = not row.make or self.names.canonical(row.make, "")[0] == exif[0]
            if exif[1] and not same:
                self._of_another_make(row, joined(*exif))
                return replace(row, make=exif[0], model=exif[1])
            if not exif[1]:
                self._unknown.append(row.path)
                return row
            return replace(row, make=row.make or exif[0], model=exif[1])
        if not row.make and self.names.key(*exif) == self.names.key(exif[0], row.model):
            row = replace(row, make=exif[0])
        if self.corpus != "folder":  # a collection's own names stand in its literature and recipes
            return row
        make, model = self.names.canonical(row.make, row.model)
        if exif[1]:
            self._compared += 1
            first = PurePosixPath(row.path).parts[0]
            place = place_of([first], self.names)
            if self.names.key(make, model) != self.names.key(*exif) and (
                place is None or not place.model or contradicts(place, *exif, self.names)
            ):
                self._contradict(
                    row.path, Place(make, model, "", first), joined(*exif), "the folder"
                )
        return replace(row, make=make, model=model)

    def _contradict(self, path: str, place: Place, exif: str, taken: str) -> None:
        text = (
            f"{legible(path)} lies in {legible(place.folder)} but is by its EXIF of "
            f"{legible(exif)}. What {taken} says is taken."
        )
        self.contradictions.append(Problem(path, "contradiction", text))

    def _of_another_make(self, row: PhotoRecord, exif: str) -> None:
        text = (
            f"{legible(row.path)} is listed as by {legible(row.make)} but is by its EXIF of "
            f"{legible(exif)}. What EXIF says is taken."
        )
        self.contradictions.append(Problem(row.path, "contradiction", text))

    def _spelled_as_in_exif(self, rows: list[PhotoRecord]) -> list[PhotoRecord]:
        """Cameras that folders name as EXIF of other photos does, but for case and spaces."""
        spelled: dict[str, PhotoRecord] = {}
        for row in rows:
            if row.model and row.path not in self._by_folder:
                spelled.setdefault(self.names.key(row.make, row.model), row)
        result = []
        for row in rows:
            known = spelled.get(self.names.key(row.make, row.model), row)
            by_folder = row.path in self._by_folder
            result.append(replace(row, make=known.make, model=known.model) if by_folder else row)
        return result

    def _devices_by_serial(self, rows: list[PhotoRecord]) -> list[PhotoRecord]:
        """Photos without a serial number in a device's folder where all others have the same one.

        Edited copies lose it: they are no second device.
        """
        serials: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key, device, serial in self._bodies.values():
            if device and serial:
                serials[key, device].add(serial)
        result = []
        for row in rows:
            key, device, serial = self._bodies.get(row.path, ("", "", ""))
            known = serials.get((key, device), set())
            alone = not serial and len(known) == 1
            result.append(replace(row, device=next(iter(known))) if alone else row)
        return result
