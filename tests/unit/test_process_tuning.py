"""The process's memory is settled before anything large is imported, and nobody's own choice is overruled."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_LOOK = "import gc, sys; from etl import __main__; import pyarrow; print(gc.get_threshold()[0], {})"


def _seen(expression: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARROW_")}
    command = [sys.executable, "-c", _LOOK.format(expression)]
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere memory is left as it is")
def test_the_program_settles_its_memory() -> None:
    assert _seen("pyarrow.default_memory_pool().backend_name") == ["20000", "system"]


def test_a_pool_that_is_named_stays() -> None:
    assert _seen("pyarrow.default_memory_pool().backend_name", ARROW_DEFAULT_MEMORY_POOL="mimalloc")[1] == "mimalloc"


def test_it_is_settled_before_the_imports() -> None:
    assert _seen("'pandas' in sys.modules")[1] == "False"
