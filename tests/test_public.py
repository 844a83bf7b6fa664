"""What `import phototrace` offers."""

import subprocess
import sys
from importlib.metadata import version

import phototrace as pt


def test_every_public_name_is_there_and_listed() -> None:
    assert pt.__version__ == version("phototrace")
    assert sorted(dir(pt)) == sorted(pt.__all__)
    for name in pt.__all__:
        assert getattr(pt, name) is not None
    for name in ("Model", "plan_patches", "PatchSettings", "build_store"):
        assert name in dir(pt)


def test_help_and_indexing_start_without_torch() -> None:
    code = (
        "import sys, phototrace as pt, phototrace.cli; pt.index; pt.build_store; pt.simulate; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
