"""SQL files say what they need: placeholders are filled in where they are used, temporary tables made before."""

from __future__ import annotations

import ast
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from etl.load import partition_bounds
from etl.warehouse.citus import Dialect
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

ETL: Final = Path(__file__).parents[2] / "etl"
FILES: Final = {
    f"{file.parts[-3]}/{file.stem}" if file.parent.name == "sql" else f"{file.parts[-4]}/citus/{file.stem}": file
    for file in ETL.glob("*/sql/**/*.sql")
}
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_CREATED: Final = re.compile(r"CREATE TEMPORARY TABLE (\w+)")
_READS: Final = re.compile(r"^-- Reads: (.*)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"--.*")
# What every statement about a partition is given, and what a load adds.
_OF_PARTITION: Final = {
    "partition", "partition_name", "bound", "model", "start_date", "start_type", "end_date", "end_type", "distribute",
}  # fmt: skip
_GIVEN: Final[dict[str, set[str]]] = {
    "format": set(),
    "_execute": {*_OF_PARTITION, "lines"},
    "_render": {*_OF_PARTITION, "lines"},
    "render": _OF_PARTITION,
}


def _placeholders(name: str) -> set[str]:
    return set(_PLACEHOLDER.findall(statement(name).as_string(None)))


def _calls() -> Iterator[tuple[str, str, set[str]]]:
    """Each use of a file: its name, what is given in any case, and what is given besides."""
    for module in sorted(ETL.rglob("*.py")):
        for call in (each for each in ast.walk(ast.parse(module.read_text())) if isinstance(each, ast.Call)):
            # Of `statement(...).format(...)` the name is in the inner call.
            inner = call.func.value if isinstance(call.func, ast.Attribute) else None
            arguments = inner.args if isinstance(inner, ast.Call) and not call.args else call.args
            names = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
            name = next((str(each) for each in names if str(each) in FILES), None)
            if name is None or not isinstance(call.func, (ast.Name, ast.Attribute)):
                continue
            function = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
            yield name, function, {keyword.arg for keyword in call.keywords if keyword.arg}


def test_placeholders_are_those_that_are_filled_in() -> None:
    for name, function, keywords in _calls():
        if function not in _GIVEN:
            continue
        wanted = _placeholders(name)
        otherwise = name.replace("/", "/citus/")
        wanted_anywhere = wanted | (_placeholders(otherwise) if otherwise in FILES else set())
        assert wanted_anywhere <= _GIVEN[function] | keywords, f"{name}: nothing is filled in for {wanted_anywhere}"
        assert keywords <= wanted_anywhere, f"{name}: has no {keywords - wanted_anywhere}"


def test_a_partition_fills_in_what_is_taken_for_granted_here() -> None:
    text = (
        partition_bounds.of_month(date(2026, 1, 1))
        .render("load/key_month", Dialect(is_distributed=False))
        .as_string(None)
    )
    assert not _PLACEHOLDER.search(text)


@pytest.mark.parametrize("name", sorted(FILES))
def test_temporary_tables_are_declared_by_who_reads_them(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    declared = dict(re.findall(r"(\w+) \((\S+)\)", "".join(_READS.findall(text))))
    made = {table: file for file in FILES for table in _CREATED.findall(FILES[file].read_text(encoding="utf-8"))}
    body = _PLACEHOLDER.sub("", _COMMENT.sub("", text))
    used = {table for table in made if re.search(rf"\b{table}\b", body)} - set(_CREATED.findall(text))
    assert declared == {table: made[table] for table in used}


def test_every_file_is_used() -> None:
    source = "".join(module.read_text(encoding="utf-8") for module in ETL.rglob("*.py"))
    unused = [
        name
        for name, file in FILES.items()
        if f'"{name.replace("citus/", "")}"' not in source and file.stem not in source and "distribute_" not in name
    ]
    assert unused == []
