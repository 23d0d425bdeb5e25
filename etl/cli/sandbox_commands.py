"""The commands for trying watch-time: the mock API, and a demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sandbox(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="Port; 0 picks a free one.")] = 8080,
    rows: Annotated[int, typer.Option(min=0, metavar="N", help="Rows per report.")] = 2_000,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed; the same seed generates the same data.")] = 1,
) -> None:
    """Serve a local mock of BlendVision's report API, with generated reports, until stopped."""
    from etl.sandbox.demo import serve

    serve(host=host, port=port, rows=rows, seed=seed)


def demo(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the demo's database.")] = Path(
        "watch-time-demo"
    ),
) -> None:
    """Load two weeks of sandbox reports into an embedded Postgres, and write the HTML page. Takes under a minute."""
    from etl.sandbox.demo import show

    show(folder)
