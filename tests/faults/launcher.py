"""The program with a failpoint put in from outside: `python launcher.py <point>:<action>[:<nth>] -- backfill ...`.

Points and actions are those of `failpoints`; that the point was reached shows in the file of FAILPOINT_FIRED.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from etl.cli import main
from etl.extract import retry
from etl.warehouse import connection
from failpoints import arm

# The program's own pauses between two tries, at the database and at the source, made short.
_LONGEST_PAUSE_S = 0.05
_BACKOFF_S = 0.05


def start(arguments: list[str], *, failpoint: str | None = None, fired: Path | None = None) -> None:
    """Be the program, from here to its end."""
    connection._LONGEST_PAUSE_S = _LONGEST_PAUSE_S  # type: ignore[misc]
    retry._BACKOFF_S = _BACKOFF_S  # type: ignore[misc]
    if failpoint and fired:
        arm(failpoint, fired)
    sys.argv = ["watch-time", *arguments]
    main.main()


if __name__ == "__main__":
    spec, _, *arguments = sys.argv[1:]
    start(arguments, failpoint=spec, fired=Path(os.environ["FAILPOINT_FIRED"]))
