"""Build the sdist and the wheel into dist/, and try them as a stranger would: python tests/release.py.

The wheel is built from the sdist, so that what the sdist lacks is found; both are checked by twine; the wheel is
installed into a new environment with what it says it needs and no more, in the versions of constraints.txt, and
answers there. The first thing that fails ends it, with 1.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "constraints.txt"


def version() -> str:
    """As the package says it: the one place where it stands."""
    (found,) = re.findall(r'^__version__ = "([^"]+)"$', (ROOT / "etl/__init__.py").read_text(), re.MULTILINE)
    return str(found)


def run(*command: str | Path, code: int = 0) -> str:
    """Run it to its expected end; gives what it printed.

    Raises:
        SystemExit: it ended otherwise; its output is shown.
    """
    print("$", *(str(part).removeprefix(f"{ROOT}/") for part in command), flush=True)
    # No folder of ours: `import etl` must find the installed one.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, cwd=folder, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    if done.returncode != code:
        raise SystemExit(f"{done.stdout}\nended with {done.returncode}, not {code}")
    return done.stdout


def build() -> tuple[Path, Path]:
    """The sdist, and the wheel made from it."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT)
    name = f"watch_time-{version()}"
    sdist, wheel = DIST / f"{name}.tar.gz", DIST / f"{name}-py3-none-any.whl"
    found = {path.name for path in DIST.iterdir()}
    if found != {sdist.name, wheel.name}:
        raise SystemExit(f"dist/ holds {sorted(found)}, not {sdist.name} and {wheel.name}")
    return sdist, wheel


def install(wheel: Path, folder: Path) -> Path:
    """Into a new environment, with what the wheel asks for; gives its programs' folder."""
    run(sys.executable, "-m", "venv", folder)
    pip = (folder / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    # Without the hashes: pip takes them only where all that is asked for is named with its version.
    pinned = [line.removesuffix(" \\") for line in CONSTRAINTS.read_text().splitlines() if line[:1].isalnum()]
    versions = folder / "versions.txt"
    versions.write_text("\n".join(pinned))
    run(*pip, "install", "-c", versions, wheel)
    run(*pip, "check")
    return folder / "bin"


def main() -> int:
    """Build, check, install, ask."""
    sdist, wheel = build()
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    with tempfile.TemporaryDirectory(prefix="watch-time-release-") as folder:
        program = install(wheel, Path(folder, "venv")) / "watch-time"
        told = run(program, "--version")
        if version() not in told:
            raise SystemExit(f"--version says {told.strip()}, the package is {version()}")
        run(program, "--help")
        # Neither a setting nor a database: it says what is missing, and does not fall over something not installed.
        run(program, "run", code=78)
        # What an extra brings is missing here, and named.
        if "watch-time[demo]" not in (told := run(program, "demo", code=78)):
            raise SystemExit(f"`watch-time demo` does not name the extra that it needs: {told}")
    print(f"{sdist.name} and {wheel.name} are in dist/ and work in an environment of their own")
    return 0


if __name__ == "__main__":
    sys.exit(main())
