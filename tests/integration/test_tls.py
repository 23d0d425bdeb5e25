"""TLS to a real Postgres that has a certificate: who is talked to is certain, or nobody is talked to."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from etl.warehouse import schema
from etl.warehouse.database import Database, open_database
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program

# Of the wheel's Postgres servers none can do TLS.
DEBIAN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
NAME = "db.example.com"


@dataclass(frozen=True)
class TlsServer:
    """A server on loopback whose certificate is for `NAME`, and the certificate of its authority."""

    port: int
    authority: Path

    def url(self, *, host: str = NAME, **options: str) -> str:
        """A host by name whose address is given beside it: nothing is looked up."""
        stated = {"hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": str(self.authority)} | options
        options_text = "&".join(f"{name}={value}" for name, value in stated.items() if value)
        return f"postgresql://postgres@{host}:{self.port}/postgres?{options_text}"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["/usr/bin/openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def make_certificates(folder: Path) -> None:
    """An authority of its own and a server's certificate, good for a day."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1")
    for name in ("authority", "stranger"):
        openssl(folder, "req", "-x509", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl(folder, "req", "-x509", *key, "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
            "-addext", "basicConstraints=CA:FALSE", "-CA", "authority.pem", "-CAkey", "authority.key",
            "-keyout", "server.key", "-out", "server.pem")  # fmt: skip


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    assert DEBIAN
    # Postgres does not run as root.
    user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
    data = folder / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, user or os.geteuid())

    def run(program: str, *arguments: str) -> None:
        subprocess.run([DEBIAN / program, *arguments], check=True, user=user, cwd=folder, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    run("initdb", "-D", str(data), "-U", "postgres", "--auth", "trust", "--no-sync")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\nssl = on\n"
            "log_connections = on\n"
            f"ssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n"
        )
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "start")
    try:
        yield port
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    if DEBIAN is None:
        skip_missing("no Debian Postgres here, and the wheel's has no TLS: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="watch-time-tls-") as name:
        folder = Path(name)
        make_certificates(folder)
        with serving(folder) as port:
            # libpq reads it, as any user's process.
            folder.chmod(0o755)
            made = TlsServer(port, folder / "authority.pem")
            schema.migrate(Database(made.url(), schema="public"))
            yield made


def test_a_server_with_the_right_certificate_is_worked_with(server: TlsServer, bare_program: Program) -> None:
    assert bare_program("migrate", DATABASE_URL=server.url()).returncode == 0
    assert bare_program("status", DATABASE_URL=server.url()).returncode == 0
    with open_database(server.url(), schema="public") as database, database.connection() as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row == (True,)


def test_the_systems_authorities_may_be_named_by_variable(server: TlsServer, bare_program: Program) -> None:
    """The wheel of psycopg brings an OpenSSL that knows no authorities of its own."""
    url = server.url(sslrootcert="system")
    refused = bare_program("status", DATABASE_URL=url)
    assert refused.returncode == 78
    named = {**bare_program.environment, "SSL_CERT_FILE": str(server.authority)}
    assert type(bare_program)(bare_program.folder, named)("status", DATABASE_URL=url).returncode == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"host": "other.example.com"}, 'does not match host name "other.example.com"', id="wrong name"),
        pytest.param({"sslrootcert": "{folder}/stranger.pem"}, "certificate verify failed", id="other authority"),
        pytest.param({"sslrootcert": "/no/such.pem"}, 'root certificate file "/no/such.pem" does not exist', id="none"),
    ],
)
def test_a_certificate_that_does_not_fit_is_for_a_person(
    server: TlsServer, bare_program: Program, change: dict[str, str], told: str
) -> None:
    change = {name: value.format(folder=server.authority.parent) for name, value in change.items()}
    refused = bare_program("status", DATABASE_URL=server.url(**change))
    assert refused.returncode == 78
    assert told in refused.stderr
    assert "next: name the server as its certificate does" in refused.stderr


def test_without_a_look_at_the_certificate_nobody_is_connected_to(server: TlsServer, bare_program: Program) -> None:
    url = server.url(sslmode="require", sslrootcert="")
    log = server.authority.with_name("log")
    before = log.read_text()
    refused = bare_program("status", DATABASE_URL=url, WEAKEST_SSLMODE="")
    assert refused.returncode == 78
    assert "connects to db.example.com with sslmode=require" in refused.stderr
    assert log.read_text() == before
    assert bare_program("status", DATABASE_URL=url, WEAKEST_SSLMODE="require").returncode == 0
    assert log.read_text() != before


def test_libpq_alone_would_talk_to_anybody(server: TlsServer) -> None:
    """The control: without the rule a wrong name is no hindrance."""
    url = server.url(host="other.example.com", sslmode="", sslrootcert="")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
