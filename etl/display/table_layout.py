"""Tables and prose for the width at hand: words, dates, numbers and commands stay whole.

A table gets two spaces between its columns, or one where there is no room for two. Where its columns do not fit even
then, each row becomes a block of lines, as psql has it in its expanded display.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

# Around a cell: above, right, below, left.
_SPACIOUS: Final = (0, 1, 0, 1)
_TIGHT: Final = (0, 1, 0, 0)
# As long as a UUID, which people paste. Longer words, such as URLs, are broken rather than the table.
_LONGEST_WORD: Final = 36
# Prose is not squeezed into less than this.
_NARROWEST: Final = 20
# Wider than any table.
_ANY_WIDTH: Final = 100_000


def new_table(*columns: str) -> FittedTable:
    """A table with these headers.

    Columns that begin with `>` hold numbers, on the right; these and those that begin with `=` are never broken.
    """
    table = FittedTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        is_number = column.startswith(">")
        table.add_column(column.lstrip(">="), justify="right" if is_number else "left", overflow="fold")
        table.is_whole.append(column.startswith((">", "=")))
    return table


class FittedTable(Table):
    """A table that breaks text between words, and nothing else.

    Attributes:
        is_whole: of each column, whether its cells are not broken between words either.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_whole: list[bool] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it for the width at hand."""
        limits = [
            _limits(console, options, column, is_whole=is_whole)
            for column, is_whole in zip(self.columns, self.is_whole, strict=True)
        ]
        least, most = sum(limit.minimum for limit in limits), sum(limit.maximum for limit in limits)
        gaps = len(limits) - 1
        if least + gaps > options.max_width:
            yield from self._blocks()
            return
        is_spacious = most + 2 * gaps <= options.max_width
        self.padding = _SPACIOUS if is_spacious else _TIGHT
        widths = _shrunk(limits, options.max_width - gaps * (2 if is_spacious else 1))
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _blocks(self) -> RenderResult:
        headers = [str(column.header) for column in self.columns]
        is_of_slices = headers[:2] == ["date", "type"]
        heading = 2 if is_of_slices else 1
        for row in zip(*(column.cells for column in self.columns), strict=True):
            cells = [cell if isinstance(cell, Text) else Text(str(cell)) for cell in row]
            name = Text() if is_of_slices else Text(f"{headers[0]} ")
            yield Text.assemble(name, Text(" ").join(cells[:heading]), style="bold")
            block = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 0, 0))
            for header, cell in zip(headers[heading:], cells[heading:], strict=True):
                if cell.plain:
                    block.add_row(Text(f"  {header}", style="dim"), cell)
            yield block


@dataclass(frozen=True, slots=True)
class Prose:
    """Text that is broken between words, its lines indented."""

    text: Text
    first: int = 0
    rest: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it for the width at hand; in one line where nothing is to be broken."""
        if options.no_wrap:
            yield Text(" " * self.first) + self.text
            return
        width = max(options.max_width - max(self.first, self.rest), _NARROWEST)
        for number, line in enumerate(self.text.wrap(console, width)):
            line.rstrip()
            yield Text(" " * (self.rest if number else self.first)) + line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As the text, and the indentation."""
        measured = Measurement.get(console, options, self.text)
        indent = max(self.first, self.rest)
        return Measurement(measured.minimum + indent, measured.maximum + indent)


def command_line(text: str) -> Text:
    """A command, to be pasted: on a line of its own, which is longer than the terminal is wide rather than broken."""
    return Text(f"    {text}", style="bold", no_wrap=True, overflow="ignore")


def _limits(console: Console, options: ConsoleOptions, column: Column, *, is_whole: bool) -> Measurement:
    """How narrow and how wide a column can be without breaking what must stay whole."""
    anywhere = options.update_width(_ANY_WIDTH)
    header, *cells = (Measurement.get(console, anywhere, cell) for cell in (column.header, *column.cells))
    widest = max((cell.maximum for cell in cells), default=0)
    if is_whole:
        return Measurement(max(widest, header.minimum), max(widest, header.maximum))
    longest_word = min(max((cell.minimum for cell in cells), default=0), _LONGEST_WORD)
    return Measurement(max(longest_word, header.minimum), max(widest, header.maximum))


def _shrunk(limits: list[Measurement], room: int) -> list[int]:
    """The widths of columns that share `room`: the widest give way first."""
    widths = [limit.maximum for limit in limits]
    while sum(widths) > room:
        flexible = [number for number, limit in enumerate(limits) if widths[number] > limit.minimum]
        widths[max(flexible, key=widths.__getitem__)] -= 1
    return widths
