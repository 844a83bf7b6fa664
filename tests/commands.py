"""Commands as a person gives them."""

import sys

import pytest

from phototrace import cli


def phototrace(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit status, stdout, stderr."""
    saved, sys.argv = sys.argv, ["phototrace", *map(str, arguments)]
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = saved
    captured = capsys.readouterr()
    return status, captured.out, captured.err
