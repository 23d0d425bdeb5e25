"""The certificate authorities that this machine trusts: libpq looks at no file of them by itself."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from etl.config.environment import given
from etl.config.sslmode_check import too_weak

if TYPE_CHECKING:
    from collections.abc import Iterable

# Debian and Ubuntu; Fedora and Red Hat; openSUSE; Alpine, macOS and the BSDs.
_USUAL: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def system_file(usual: Iterable[str] = _USUAL) -> Path | None:
    """The system's file of certificates; None where there is none in a usual place."""
    named = given().get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return next((path for name in (named, *usual) if name and (path := Path(name)).is_file()), None)


def is_unverified(url: str) -> bool:
    """Whether the database URL leads to another machine, without saying how that is to be verified."""
    return "sslmode=" not in url and too_weak(url, "verify-full") is not None


def verified(url: str, authorities: Path) -> str:
    """The URL, with the demand that the server has a certificate of these authorities."""
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}sslmode=verify-full&sslrootcert={quote(str(authorities))}"
