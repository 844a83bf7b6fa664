"""The command line: a thin skin over the package. `research` holds its commands, `app` the rest."""

from phototrace.cli import research
from phototrace.cli.app import app, main

__all__ = ["app", "main", "research"]
