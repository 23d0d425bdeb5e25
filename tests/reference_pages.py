"""What the documentation has from the program itself: commands, settings, metrics, diagrams, packages.

    make reference

writes docs/commands.md, docs/configuration.md, docs/metrics.md, the diagrams in docs/images, and the table of packages
in CONTRIBUTING.md. `make docs` begins with `reference_pages.py --check`, and tests compare them too.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast, get_args, get_origin

import typer.main
from pydantic import SecretStr

import diagrams
from etl.cli import output
from etl.cli.main import app
from etl.config import telemetry_settings
from etl.config.environment import PREFIX, variable_of
from etl.config.setting_checks import EXAMPLES
from etl.config.settings import _SECRETS, Settings
from etl.telemetry import metrics
from log_events import log_events_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo
    from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
CONTRIBUTING: Final = ROOT / "CONTRIBUTING.md"
_PACKAGES: Final = re.compile(r"(?<=<!-- packages -->\n).*(?=<!-- /packages -->)", re.DOTALL)
# Examples that the tests read and do not run, and why.
NOT_RUN: Final = {
    "init": "asks on a terminal; tests answer its questions",
    "demo": "`.ci/run` runs it",
    "sandbox": "serves until it is stopped; the quick start runs it",
}
# What a command shows: screens of docs/screens, by their titles. `demo` types the others.
SCREENS: Final = {
    "init": {"init": "On a terminal"},
    "run": {"run": "On a terminal", "run-waiting": "While it waits for a report", "held": "With held reports"},
    "backfill": {"backfill": "On a terminal", "dry-run": "With --dry-run", "reload": "With --reload"},
    "status": {
        "status": "On a terminal",
        "status-all": "With --all",
        "status-all-wide": "With --all, 120 columns wide",
    },
    "revisions": {"revisions-wide": "120 columns wide", "revisions": "80 columns wide"},
    "explain": {"explain-wide": "120 columns wide", "explain": "80 columns wide"},
    "verify": {
        "verify": "On a terminal",
        "verify-differs-wide": "With a row edited by hand, 120 columns wide",
        "verify-differs": "The same, 80 columns wide",
    },
    "report": {"report": "On a terminal"},
    "sql": {"sql": "On a terminal", "sql-read-only": "With a statement that writes"},
    "compact": {"compact": "On a terminal"},
    "archive": {"archive": "On a terminal"},
    "doctor": {"doctor": "On a terminal", "doctor-problem": "With a token that has expired"},
    "migrate": {"migrate": "On a terminal"},
    "sandbox": {"sandbox": "On a terminal"},
}
FILES: Final = frozenset((*_SECRETS, *telemetry_settings.TELEMETRY_SECRETS))

_COMMANDS_HEAD: Final = """\
# Commands

`make reference` generates this page; `watch-time COMMAND --help` shows the same text.

Results go to stdout. Logs and errors go to stderr, as text on a terminal, otherwise as one JSON object per line. See
also [Configuration](configuration.md) and [Troubleshooting by exit code](operations/exit-codes.md). `python -m etl` is
the same as `watch-time`.
"""

_CONFIGURATION_HEAD: Final = f"""\
# Configuration

`make reference` generates this page.

Set each setting as an environment variable, or in a `.env` file in the working directory; the environment takes
precedence. An empty variable counts as not set. All invalid settings are reported at once, with exit code
[78](operations/exit-codes.md#exit-78). An unknown variable that begins with `{PREFIX}` causes a warning with the
closest known name.

Secrets can be read from files, as mounted by Docker and Kubernetes: append `_FILE` to the variable's name and set it to
the file's path. A file that other users can read causes a warning.

`watch-time doctor` checks the settings and connections. Proxies are set with the usual variables (`HTTPS_PROXY`,
`NO_PROXY`), certificates with `SSL_CERT_FILE`; downloads are kept in `TMPDIR` while they are loaded.
"""

_METRICS_HEAD: Final = """\
# Metrics

`make reference` generates this page. [Monitoring](operations/monitoring.md#metrics) describes how to collect metrics,
and lists alerts.
"""

_METRICS_OF_A_RUN: Final = """\
## Run metrics

`command` is `run` or `backfill`; `result` is `loaded`, `unchanged`, `empty`, `unavailable`, `withdrawn`, `held` or
`failed`.
"""

_METRICS_OF_THE_WAREHOUSE: Final = """\
## Warehouse metrics

`state` is `loaded`, `empty`, `unavailable`, `held`, `failed` or `never_tried`. If a run cannot read the ledger, these
metrics are absent rather than stale, so also alert on `absent`.
"""

_TYPES: Final = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    Decimal: "a decimal",
    date: "a date, `YYYY-MM-DD`",
    str: "text",
    SecretStr: "text, secret",
    tuple: "a comma-separated list",
    dict: "a JSON object",
}


def commands_page() -> str:
    """Each command with its help, options and examples."""
    group = cast("TyperGroup", typer.main.get_command(app))
    names = [f"| [`{name}`](#watch-time-{name}) | {command.short_help} |" for name, command in group.commands.items()]
    parts = [_COMMANDS_HEAD, "\n".join(["| command | what it does |", "| --- | --- |", *names, ""])]
    parts += ["[What `--help` prints](screens/help.txt)\n"]
    parts += [_command(name, cast("TyperCommand", command)) for name, command in group.commands.items()]
    return "\n".join(parts)


def _command(name: str, command: TyperCommand) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["watch-time", name, *command.collect_usage_pieces(context)])
    rows = [_parameter(parameter) for parameter in command.params]
    table = ["| option | default | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    return "\n".join(
        [
            f"## `watch-time {name}`",
            "",
            f"    {usage}",
            "",
            re.sub(r"\s*\n\s*", " ", command.help or "").strip(),
            "",
            *table,
            *_mark(name),
            "```sh",
            *examples,
            "```",
            "",
            *[f"[{title}](screens/{screen}.txt)\n" for screen, title in SCREENS.get(name, {}).items()],
        ]
    )


def _mark(name: str) -> list[str]:
    return [f"<!-- not run: {NOT_RUN[name]} -->"] if name in NOT_RUN else []


def _parameter(parameter: object) -> str:
    option = cast("TyperOption | TyperArgument", parameter)
    metavar = (option.metavar or (option.name or "").upper()).replace("|", "\\|")
    if option.param_type_name == "argument":
        required = "required" if option.required else ""
        return f"| `{metavar}` | {required} | {getattr(option, 'help', '')} |"
    known = cast("TyperOption", option)
    shown = known.opts[0] if known.is_flag else f"{known.opts[0]} {metavar}"
    given = f"`{known.default}`" if known.default not in (None, False, ()) else ""
    default = "required" if known.required else given
    return f"| `{shown}` | {default} | {known.help} |"


def configuration_page() -> str:
    """Each setting with its variable, type, default and meaning."""
    rows = [
        f"| [`{variable_of(name)}`](#{variable_of(name).lower()}) | {_default(name, field)} |"
        for name, field in Settings.model_fields.items()
    ]
    table = "\n".join(["| variable | default |", "| --- | --- |", *rows, ""])
    parts = [_CONFIGURATION_HEAD, table]
    parts += [_setting(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(parts)


def _setting(name: str, field: FieldInfo) -> str:
    lines = [f"## `{variable_of(name)}`", "", field.description or "", ""]
    lines.append(f"- Type: {_type(field)}")
    lines.append(f"- Default: {_default(name, field)}")
    if name in FILES:
        lines.append(f"- From a file: `{variable_of(name)}_FILE`")
    if name in output.NEEDS:
        lines.append(f"- Value: {EXAMPLES[name]}")
    return "\n".join([*lines, ""])


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return "required" if name in output.NEEDS else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ((), {}) else "none"


def _type(field: FieldInfo) -> str:
    kinds = [kind for kind in _members(field.annotation) if kind is not type(None)]
    if get_origin(kinds[0]) is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in get_args(kinds[0]))
    (kind,) = kinds
    named = get_origin(kind) or kind
    assert isinstance(named, type)
    bounds = [f"{word} {bound}" for word, sign in (("from", "ge"), ("to", "le")) for bound in _bounds(field, sign)]
    return " ".join([_TYPES[named], *bounds])


def _members(annotation: object) -> tuple[object, ...]:
    """The types of a union; a type alone is one of one."""
    is_union = get_origin(annotation) not in (None, Literal, tuple, dict)
    return get_args(annotation) if is_union else (annotation,)


def _bounds(field: FieldInfo, sign: str) -> Iterator[str]:
    for metadata in field.metadata:
        if hasattr(metadata, sign):
            yield f"{getattr(metadata, sign):,}"


def packages() -> list[Path]:
    """The folders of the packages, and of those within them, in the order of the import contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    top = [ROOT / "etl" / name for layer in layers for name in layer.split(" | ")]
    return [file.parent for folder in top for file in sorted(folder.rglob("__init__.py"))]


def docstring(package: Path) -> str:
    """What a package says of itself."""
    text = (package / "__init__.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text), clean=False) or ""


def named_modules(package: Path) -> list[str]:
    """The modules that a package's docstring names, in its order; folders end with a slash."""
    return re.findall(r"^ *(\w+/?)(?= {2,})", docstring(package), re.MULTILINE)


def packages_table() -> str:
    """A line for each package."""
    lines = ["| package | what it is for | modules, in data-flow order |", "| --- | --- | --- |"]
    for package in packages():
        modules = ", ".join(f"`{name}`" for name in named_modules(package) if not name.endswith("/"))
        first = docstring(package).partition("\n")[0].removesuffix(".")
        lines.append(f"| `{package.relative_to(ROOT / 'etl').as_posix()}/` | {first} | {modules} |")
    return "\n".join(lines) + "\n"


def contributing_page() -> str:
    """CONTRIBUTING.md with the table as it should be."""
    return _PACKAGES.sub(lambda _: packages_table(), CONTRIBUTING.read_text(encoding="utf-8"))


def metrics_page() -> str:
    """Each metric with its labels and meaning."""
    parts = [_METRICS_HEAD]
    for head, group, extra in (
        (_METRICS_OF_A_RUN, metrics.RUN, ("command",)),
        (_METRICS_OF_THE_WAREHOUSE, metrics.STANDING, ()),
    ):
        rows = [
            f"| `{metric.name}` | {', '.join(f'`{label}`' for label in (*metric.labels, *extra))} | {metric.meaning} |"
            for metric in group
        ]
        parts += [head, "\n".join(["| metric | labels | meaning |", "| --- | --- | --- |", *rows, ""])]
    return "\n".join(parts)


PAGES: Final = {
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "log-events.md": log_events_page,
    "metrics.md": metrics_page,
}
MADE: Final = {
    **{DOCS / name: page for name, page in PAGES.items()},
    **{diagrams.IMAGES / name: drawn for name, drawn in diagrams.DIAGRAMS.items()},
    CONTRIBUTING: contributing_page,
}


def main() -> None:
    """Write them all; with --check, fail where one is out of date."""
    made = {file: text() for file, text in MADE.items()}
    if "--check" in sys.argv:
        stale = [file.name for file, text in made.items() if not file.is_file() or file.read_text("utf-8") != text]
        sys.exit(f"out of date: {', '.join(stale)}; type: make reference" if stale else 0)
    for file, text in made.items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
