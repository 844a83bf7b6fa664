"""What all commands share. Results go to stdout, progress and errors to stderr.

Exit status: 0 done; 1 a photo or run could not be handled (the rest still is); 2 wrong usage.
Nothing heavy is imported before a command runs, so that help is shown at once.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from phototrace.errors import PhototraceError
from phototrace.progress import on_stderr

app = typer.Typer(
    name="phototrace",
    help="Which camera model took a photo, and what was done to it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LISTED = 20
"""How many photos a list on stderr names before it counts the rest."""
INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def main() -> None:
    """Run the command line; a user's mistake ends in a sentence, not in a traceback."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if isinstance(sys.stdout, TextIOWrapper):  # not every console and pipe can show every letter
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with on_stderr():
            app(args=arguments, prog_name="phototrace")
    except PhototraceError as error:
        _fail(error, str(error), error.exit_code, debug)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what Typer makes of Ctrl-C
            print("phototrace: Interrupted. What was finished is kept.", file=sys.stderr)
        raise
    except OSError as error:
        _fail(error, _sentence(error), 1, debug)


def _fail(error: BaseException, message: str, status: int, debug: bool) -> None:
    if debug:
        raise error
    print(f"phototrace: {message}", file=sys.stderr)
    sys.exit(status)


def _sentence(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"The disk is full{where}. Make room, then give the same command again."
    return f"{error.strerror or error}{where}."


def show(facts: dict[str, Any], as_json: bool, sentence: Callable[[], str]) -> None:
    """Print a result on stdout, as JSON or in words."""
    print(json.dumps(facts, indent=2) if as_json else sentence())


def list_items(what: str, items: Any) -> None:
    """Count and name photos on stderr."""
    items = list(items)
    if not items:
        return
    print(f"{len(items)} {what}:", file=sys.stderr)
    for item in items[:LISTED]:
        facts = item if isinstance(item, dict) else vars(item)
        # Sentences name their file themselves, with what is not named escaped.
        print(f"  {facts.get('text') or facts.get('reason')}", file=sys.stderr)
    if len(items) > LISTED:
        print(f"  and {len(items) - LISTED} more (--json lists all)", file=sys.stderr)
