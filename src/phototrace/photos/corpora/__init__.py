"""The collections whose layout phototrace knows: a name, and the function that reads its layout."""

from phototrace.photos.corpora.dresden import dresden
from phototrace.photos.corpora.folder import auto, exif, folder
from phototrace.photos.corpora.forchheim import forchheim
from phototrace.photos.corpora.labels import Corpus, Labels, Reading
from phototrace.photos.corpora.vision import vision

COLLECTIONS: dict[str, Corpus] = {"dresden": dresden, "vision": vision, "forchheim": forchheim}
"""Public collections: each tells its own photos by their names."""
CORPORA: dict[str, Corpus] = {"auto": auto, "folder": folder, "exif": exif, **COLLECTIONS}

__all__ = ["COLLECTIONS", "CORPORA", "Corpus", "Labels", "Reading"]
