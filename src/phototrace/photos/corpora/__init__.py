"""The collections whose layout phototrace knows: a name, and the function that reads its layout."""

from phototrace.photos.corpora.folder import exif, folder
from phototrace.photos.corpora.labels import Corpus, Labels

CORPORA: dict[str, Corpus] = {"folder": folder, "exif": exif}

__all__ = ["CORPORA", "Corpus", "Labels"]
