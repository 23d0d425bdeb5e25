"""A mock of BlendVision's report API: the same responses over real HTTP, and reports of any size.

The modules, in the order in which a request passes them:

    server                runs the app on a port, in a thread or in the foreground
    app                   the report API, and the control endpoints under /sandbox/
    report_storage        the host of the CSV files: signed URLs, ranges, and every way in which a download can go wrong
    sandbox               what a test or a person can change while it runs: restate, withdraw, script, override
    control_api           the same from another process
    file_cache            reports on disk, each generated once
    report_generator      what viewers watched: the lines of a report, and what they must sum up to
    catalogue             what there is to watch, and who watches
    deterministic_random  numbers that look random and depend on their names only
    sandbox_config        what a sandbox is like
    faults                faults, declared
    demo                  the job at work on all of this


It shares no code with what reads the reports, the header texts included: a mistake made on both sides would not show.
Importing this package imports none of the above, so that the command's start-up does not pay for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from etl.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def demo_extra() -> Iterator[None]:
    """Wrap the import of a package of the `demo` extra, so that its absence ends in the line that installs it.

    Raises:
        Misconfigured: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the sandbox needs the package {error.name}, which is not installed",
            next_step="`pip install 'watch-time[demo]'`",
        ) from None
