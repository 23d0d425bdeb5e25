"""The audit of dependencies tells what is vulnerable, and is not taken in by a source that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dependency_audit

if TYPE_CHECKING:
    from pathlib import Path

VULNERABLE = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "CVE-2019-10906", "fix_versions": ["2.10.1"]}]}
FINE = {"name": "httpx", "version": "0.28.1", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "not on PyPI"}


@pytest.mark.parametrize(
    ("probe", "audited", "code", "told"),
    [
        pytest.param([VULNERABLE], [FINE], 0, "1 packages audited by pypi: 0 findings", id="nothing"),
        pytest.param([VULNERABLE], [FINE, VULNERABLE], 1, "CVE-2019-10906, mended in 2.10.1", id="one"),
        pytest.param([VULNERABLE], [FINE, UNKNOWN], 1, "ours: not audited: not on PyPI", id="unknown to the source"),
        pytest.param([UNKNOWN], [FINE], 0, "not audited: neither of pypi, osv", id="a mirror without advisories"),
        pytest.param(None, [FINE], 0, "not audited: neither of pypi, osv", id="no network"),
        pytest.param([VULNERABLE], None, 0, "not audited: pypi gave advisories, and then no more", id="cut off"),
    ],
)
def test_the_audit_says_what_it_knows(
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    probe: dependency_audit.Dependencies | None,
    audited: dependency_audit.Dependencies | None,
    code: int,
    told: str,
) -> None:
    def answer(requirements: Path, _source: str, *_options: str) -> dependency_audit.Dependencies | None:
        return audited if requirements == dependency_audit.CONSTRAINTS else probe

    monkeypatch.setattr(dependency_audit, "_audit", answer)
    assert dependency_audit.main() == code
    assert told in capsys.readouterr().out
