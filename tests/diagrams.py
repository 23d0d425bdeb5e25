"""The two pictures of how it works, drawn from the program: the packages' docstrings, and the declared tables.

`make reference` writes them to docs/images, and `make docs` fails where they are out of date.
"""

from __future__ import annotations

import ast
import textwrap
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etl.warehouse.table_definitions import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Column, Table

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"

_STYLE: Final = """\
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2933; }
.name { font-weight: 600; }
.code { font: 12px ui-monospace, monospace; }
.key { font-weight: 700; }
.note { font-size: 12px; fill: #52606d; }
rect { fill: #ffffff; stroke: #9aa5b1; rx: 6; }
.paper { fill: #f5f7fa; stroke: none; rx: 10; }
.frame { fill: none; stroke: #0b69a3; stroke-dasharray: 5 4; }
.outside { fill: #e6f6ff; stroke: #0b69a3; }
.head { fill: #e6f6ff; stroke: #9aa5b1; }
path { fill: none; stroke: #0b69a3; stroke-width: 1.5; }
.arrow { marker-end: url(#arrow); }
</style>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 L8 4 L0 8 z" style="fill: #0b69a3; stroke: none"/></marker></defs>
"""
_LINE: Final = 17


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            f"<title>{escape(title)}</title>",
            _STYLE + f'<rect class="paper" width="{width}" height="{height}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"' + (f' class="{kind}"' if kind else "") + f">{escape(text)}</text>"


def _box(x: int, y: int, width: int, height: int, name: str, says: str, kind: str = "") -> str:  # noqa: PLR0917 - a place and a size
    """A box with a name, and below it what it says of itself, wrapped."""
    lines = textwrap.wrap(says, (width - 20) * 10 // 64)
    assert 28 + _LINE * len(lines) <= height, f"no room in the box of {name}: {says}"
    return "\n".join(
        [
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}"' + (f' class="{kind}"/>' if kind else "/>"),
            _text(x + 12, y + 22, name, "name"),
            *(_text(x + 12, y + 22 + _LINE * number, line, "note") for number, line in enumerate(lines, 1)),
        ]
    )


def _arrow(*points: tuple[int, int]) -> str:
    return '<path class="arrow" d="M' + " L".join(f"{x} {y}" for x, y in points) + '"/>'


def _says(package: str) -> str:
    """The first sentence of a package's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / "etl" / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    sentence = text.partition("\n")[0].partition(". ")[0].removesuffix(".")
    assert sentence, package
    return sentence


def flow() -> str:
    """How a report gets from the source into Postgres, and who else is told."""
    return _svg(
        "How a report gets into the warehouse",
        1000,
        430,
        [
            _box(220, 16, 540, 52, "job", _says("job")),
            _arrow((490, 68), (490, 92)),
            '<rect class="frame" x="220" y="94" width="540" height="228"/>',
            _text(236, 118, "pipeline", "name"),
            _text(304, 118, _says("pipeline"), "note"),
            _box(20, 136, 160, 62, "Report API", "a URL, or 404", "outside"),
            _box(20, 222, 160, 62, "Download host", "the CSV", "outside"),
            _arrow((180, 167), (238, 167)),
            _arrow((180, 253), (210, 253), (210, 205), (238, 205)),
            _box(240, 136, 150, 100, "extract", _says("extract")),
            _arrow((390, 186), (413, 186)),
            _box(415, 136, 150, 100, "transform", _says("transform")),
            _arrow((565, 186), (588, 186)),
            _box(590, 136, 152, 100, "load", _says("load")),
            _arrow((742, 186), (808, 186)),
            _box(810, 136, 170, 100, "Postgres", "facts, contents and ledger, in one transaction", "outside"),
            _box(240, 246, 502, 64, "archive", _says("archive")),
            _arrow((742, 274), (808, 274)),
            _box(810, 246, 170, 68, "Archive", "a folder or an object store", "outside"),
            _arrow((350, 322), (350, 348)),
            _box(220, 350, 262, 64, "telemetry", _says("telemetry")),
            _box(498, 350, 262, 64, "diagnostics, display", _says("diagnostics")),
            _arrow((980, 200), (990, 200), (990, 382), (762, 382)),
        ],
    )


_WIDTH: Final = 290
_SHOWN: Final = 5


def tables() -> str:
    """The tables, with their keys; lines join those that share the key of one of them."""
    every = dict(metadata.tables)
    columns: dict[int, list[Table]] = {0: [], 1: [], 2: []}
    for table in every.values():
        keys = set(table.primary_key.columns.keys())
        columns[0 if "content_id" in keys else 1 if table.name in {"report_slice", "warehouse"} else 2].append(table)
    columns[1].sort(key=lambda table: table.name)
    places: dict[str, tuple[int, int, int]] = {}
    bottom = 0
    for column, inside in columns.items():
        y = 20
        for table in inside:
            height = _height(table)
            places[table.name] = (20 + column * (_WIDTH + 50), y, height)
            y += height + 22
        bottom = max(bottom, y)
    lines = [
        _join(places[parent.name], places[child.name])
        for parent in every.values()
        for child in every.values()
        if _is_joined(parent, child, every)
    ]
    drawn = [_table(table, *places[name]) for name, table in every.items()]
    return _svg("The tables and what joins them", 3 * _WIDTH + 140, bottom, [*lines, *drawn])


def _is_joined(parent: Table, child: Table, every: Mapping[str, Table]) -> bool:
    """Whether the key of `parent`, a table that others refer to, is a part of that of `child`."""
    hubs = {name for name in ("content", "report_slice") if name in every}
    keys: Callable[[Table], set[str]] = lambda table: set(table.primary_key.columns.keys())  # noqa: E731
    return parent.name in hubs and parent is not child and keys(parent) <= keys(child)


def _height(table: Table) -> int:
    others = len(table.columns) - len(table.primary_key.columns)
    return 40 + _LINE * (len(table.primary_key.columns) + min(others, _SHOWN) + (others > _SHOWN))


def _table(table: Table, x: int, y: int, height: int) -> str:
    bottom = y + height
    keys = list(table.primary_key.columns)
    others = [column for column in table.columns if not column.primary_key]
    rows = [(column.name, _type(column), "code key") for column in keys]
    rows += [(column.name, _type(column), "code") for column in others[:_SHOWN]]
    if len(others) > _SHOWN:
        rows.append((f"and {len(others) - _SHOWN} more", "", "note"))
    return "\n".join(
        [
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{height}"/>',
            f'<rect class="head" x="{x}" y="{y}" width="{_WIDTH}" height="28"/>',
            _text(x + 12, y + 19, table.name, "name"),
            *(
                _text(x + 12, below, name, kind) + _text(x + 182, below, type_, "note")
                for below, (name, type_, kind) in zip(range(y + 28 + _LINE, bottom, _LINE), rows, strict=False)
            ),
        ]
    )


def _type(column: Column[object]) -> str:
    """As Postgres names it; how it is collated is no matter here."""
    return {"datetime": "timestamp"}.get(known := str(column.type).lower().partition(" ")[0], known)


def _join(parent: tuple[int, int, int], child: tuple[int, int, int]) -> str:
    (px, py, _), (cx, cy, _) = parent, child
    start, end = py + 14, cy + 14
    if px == cx:
        return f'<path d="M{px} {start} L{px - 12} {start} L{px - 12} {end} L{cx} {end}"/>'
    if px < cx:
        middle = px + _WIDTH + 25
        return f'<path d="M{px + _WIDTH} {start} L{middle} {start} L{middle} {end} L{cx} {end}"/>'
    middle = cx + _WIDTH + 25
    return f'<path d="M{px} {start} L{middle} {start} L{middle} {end} L{cx + _WIDTH} {end}"/>'


DIAGRAMS: Final = {"flow.svg": flow, "tables.svg": tables}
