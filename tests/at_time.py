"""The command as if it were another time: called in its process, before it begins.

The clock stands still. What measures, and what waits, has its own clocks and is as always; so has the database.
"""

from __future__ import annotations

import datetime  # noqa: ICN001 - what is replaced is the module's own
import sys
from importlib import import_module
from typing import Any, ClassVar

_REAL = datetime.datetime
_LIBRARIES = (
    "structlog", "httpx", "pandas", "psycopg", "pyarrow.compute", "pyarrow.csv", "pyarrow.dataset", "pyarrow.fs",
    "pyarrow.parquet", "pydantic_settings", "rich.progress", "sqlalchemy", "typer",
)  # fmt: skip


class _Kind(type):
    """What is a moment to others, is one to the program."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _REAL)


class _Standing(_REAL, metaclass=_Kind):
    moment: ClassVar[_REAL]

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """The moment that was named."""
        return cls.moment.astimezone(tz) if tz else cls.moment.astimezone().replace(tzinfo=None)


def stand_still(moment: str, command: str) -> None:
    """Make it that moment in this process, for a command that has been imported already."""
    # Libraries keep the clock that they know: they are imported before.
    for name in _LIBRARIES:
        import_module(name)
    # pydantic knows no moments but its own.
    import_module("etl.archive.manifests")
    _Standing.moment = _REAL.fromisoformat(moment).replace(tzinfo=datetime.UTC)
    for name, module in list(sys.modules.items()):
        if name.startswith("etl.") and vars(module).get("datetime") is _REAL:
            module.datetime = _Standing  # type: ignore[attr-defined]
    datetime.datetime = _Standing  # type: ignore[misc]
    # By the name that people type; the parser's library would tell how this process was started.
    import_module("typer._click.utils")._detect_program_name = lambda: "watch-time"  # type: ignore[attr-defined]
    if command == "doctor":
        # It compares its clock with the API's; and which fonts there are is this machine's business.
        import_module("etl.diagnostics.source_checks").datetime = _REAL  # type: ignore[attr-defined]
        import_module("etl.display.page.write_report").examine_fonts = lambda _: None  # type: ignore[attr-defined]
