"""`make audit`: known vulnerabilities of the versions in constraints.txt, where a source of advisories can be reached.

A source counts as reached when it knows of an old version that it is one of the vulnerable: a mirror that has the
packages and no advisories answers that nothing is known, of anything. Without a source this says so and ends with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

CONSTRAINTS: Final = Path(__file__).parents[1] / "constraints.txt"
_KNOWN_TO_BE_VULNERABLE: Final = "jinja2==2.10"
_SOURCES: Final = ("pypi", "osv")
_TIMEOUT_S: Final = 600

Dependencies = list[dict[str, Any]]


def main() -> int:
    """Print what was found; 1 when there is something."""
    source = next(filter(_knows_advisories, _SOURCES), None)
    if source is None:
        print(f"not audited: neither of {', '.join(_SOURCES)} gives advisories to this machine")
        return 0
    audited = _audit(CONSTRAINTS, source)
    if audited is None:
        print(f"not audited: {source} gave advisories, and then no more")
        return 0
    for line in (lines := list(findings(audited))):
        print(line)
    print(f"{len(audited)} packages audited by {source}: {len(lines)} findings")
    return 1 if lines else 0


def findings(dependencies: Dependencies) -> list[str]:
    """A line for each vulnerability, and for each package that the source does not know."""
    return [
        *(
            f"{each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
            for each in dependencies
            for found in each.get("vulns", ())
        ),
        *(f"{each['name']}: not audited: {each['skip_reason']}" for each in dependencies if "skip_reason" in each),
    ]


def _knows_advisories(source: str) -> bool:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(_KNOWN_TO_BE_VULNERABLE)
        file.flush()
        found = _audit(Path(file.name), source, "--no-deps")
    return any(each.get("vulns") for each in found or ())


def _audit(requirements: Path, source: str, *options: str) -> Dependencies | None:
    """What pip-audit says of each requirement; None where it could not ask."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off", "--timeout=15",
             "--vulnerability-service", source, "--format=json", "--requirement", str(requirements), *options],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
        found: Dependencies = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


if __name__ == "__main__":
    sys.exit(main())
