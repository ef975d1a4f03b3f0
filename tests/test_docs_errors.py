"""`docs/errors.md` lists every code; each of its examples is told as printed, and each remedy works.

An entry is read from top to bottom, as a user would follow it. A Python or TOML block is a file, `my_cell.py` unless a
comment in its first line names it. A text block is what lstmgen says of that file, and a Python block below it is the
remedy. Console blocks are commands with all that they print; commands in a paragraph that begins with "Instead" must
succeed. The rows of a table stand in a cell that the page shows once.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import Result

from lstmgen import finding, pipeline
from lstmgen.errors import DeclarationError, Diagnostic

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")

Run = Callable[..., Result]
Package = Callable[..., Path]


class Part(NamedTuple):
    """A block of an entry, by its language, or a paragraph of remedies ("instead")."""

    kind: str
    text: str


class Row(NamedTuple):
    """A row of a table: what is written, what is said of it, what to write instead."""

    kind: str  # "expression" or "statement"
    wrong: str
    message: str
    right: str


def parts(text: str) -> list[Part]:
    """What an entry holds that can be run, in order."""
    found = re.finditer(r"^```(\w+)\n(.*?)^```$|^(Instead.*?)(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return [Part(match[1], match[2]) if match[1] else Part("instead", match[3]) for match in found]


def span(text: str) -> str:
    """The text of a code span."""
    match = re.fullmatch(r"`([^`]+)`|``\s(.+)\s``", text)
    assert match, text
    return str(match[1] or match[2])


def rows(text: str) -> list[Row]:
    """The rows of an entry's tables."""
    tables = re.findall(
        r"^\| (expression|statement) \| message \| instead \|\n\|[ |-]+\|\n((?:^\|.*\|\n)+)", text, re.MULTILINE
    )
    return [Row(kind, *map(span, line[2:-2].split(" | "))) for kind, body in tables for line in body.splitlines()]


def sections() -> dict[str, tuple[str, str]]:
    """The title and the text of every entry, by its code."""
    found = re.findall(r"^### (LG\d{3}): ([^\n]+)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert len({code for code, *_ in found}) == len(found)
    return {code: (title, text) for code, title, text in found}


ENTRIES = sections()
(READING,) = re.findall(r"^## How to read a message\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
TABLE_CELL = parts(READING)[-1].text
ROWS = [(code, row) for code, (_, text) in ENTRIES.items() for row in rows(text)]


def diagnostics(cell: Path) -> tuple[Diagnostic, ...]:
    """All that is said about the cell in a file."""
    try:
        return finding.find_cell(str(cell)).trace().warnings
    except DeclarationError as error:
        return error.diagnostics


def compiled(cell: Path) -> pipeline.Compiled:
    """The kernels of the cell in a file, of which nothing is said."""
    made = pipeline.compile_cell(finding.find_cell(str(cell)), finding.find_backend("numpy"), {})
    assert not made.declaration.warnings
    return made


def said(run: Run, cell: Path) -> str:
    """What the command line prints about the cell in a file, without the file's folder."""
    result = run("show", cell, "--stage", "graph")
    assert result.exit_code == (0 if "warning" in result.output else 2)
    return str(result.output).replace(f"{cell.parent}{os.sep}", "")


# -- what an example needs besides the files that it shows ----------------------------------------------------------


def _claimed_twice(run: Run, package: Package, folder: Path) -> None:
    for name in ("one_cells", "other_cells"):
        package(name, f"[lstmgen.cells]\nlab_lstm = {name}_module:lab_lstm\n")


def _broken(run: Run, package: Package, folder: Path) -> None:
    package(
        "brittle_cells",
        "[lstmgen.cells]\nbrittle = brittle_module:brittle\nshadow = shadow_module:shadow\n",
        brittle_module="import no_such_module\n",
        shadow_module="shadow = {}\n",
    )


def _without_device(run: Run, package: Package, folder: Path) -> None:
    source = (
        "from lstmgen.backends.numpy import NumpyBackend\n\n"
        "class Hosted(NumpyBackend):\n    name = 'gpu'\n"
        "    def levels(self):\n        return ('host', 'derivation')\n\ngpu = Hosted()\n"
    )
    package("gpu_backend", "[lstmgen.backends]\ngpu = gpu_backend_module:gpu\n", gpu_backend_module=source)


def _changed_header(run: Run, package: Package, folder: Path) -> None:
    assert run("build", "rnn").exit_code == 0
    place = folder / "generated/rnn_numpy.py"
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace("lstmgen build rnn", "lstmgen generate rnn", 1), encoding="utf-8")


def _a_file_in_the_way(run: Run, package: Package, folder: Path) -> None:
    if os.name != "posix":
        pytest.skip("the words of the system are quoted from POSIX")
    (folder / "pyproject.toml").touch()


PREPARE: dict[str, Callable[[Run, Package, Path], None]] = {
    "LG002": _a_file_in_the_way,
    "LG202": _claimed_twice,
    "LG203": _broken,
    "LG304": _without_device,
    "LG308": _changed_header,
}


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_every_code_of_the_sources_and_no_other() -> None:
    sources = (each.read_text(encoding="utf-8") for each in (ROOT / "lstmgen").rglob("*.py"))
    assert set(ENTRIES) == {code for source in sources for code in re.findall(r"LG\d{3}", source)}


def test_the_contents_name_every_entry_in_order_and_link_to_it() -> None:
    contents = re.findall(r"^\| \[(LG\d{3})\]\(#(.+)\) \| (.+) \|$", PAGE, re.MULTILINE)
    ordinary = sorted(code for code in ENTRIES if code > "LG100")
    assert [code for code, *_ in contents[: len(ordinary)]] == ordinary
    assert sorted(code for code, *_ in contents) == sorted(ENTRIES)
    for code, anchor, meaning in contents:
        title = ENTRIES[code][0]
        assert meaning.partition(" (")[0] == title
        assert anchor == re.sub(r"[^\w -]", "", f"{code}: {title}").lower().replace(" ", "-")
    anchors = {anchor for _, anchor, _ in contents}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


def test_every_entry_shows_what_is_printed_and_what_to_do() -> None:
    for code, (_, text) in ENTRIES.items():
        kinds = [part.kind for part in parts(text)]
        shows_a_cell, shows_a_command = kinds[:3] == ["python", "text", "python"], {"console", "instead"} <= {*kinds}
        assert shows_a_cell or shows_a_command or "pycon" in kinds, code


def test_a_message_is_explained_by_one_that_is_printed(run: Run, folder: Path) -> None:
    wrong, told, _ = parts(READING)
    (folder / "my_cell.py").write_text(wrong.text, encoding="utf-8")
    assert said(run, folder / "my_cell.py") == told.text


@pytest.mark.parametrize("code", ENTRIES)
def test_an_entry_is_as_printed_and_its_remedy_works(code: str, run: Run, package: Package, folder: Path) -> None:
    if code in PREPARE:
        PREPARE[code](run, package, folder)
    file, before = folder, ""
    for part in parts(ENTRIES[code][1]):
        if part.kind in ("python", "toml"):
            name = re.match(r"# (\S+\.\w+)\n", part.text)
            file = folder / (name[1] if name else "my_cell.py")
            file.write_text(part.text, encoding="utf-8")
            assert before != "text" or pipeline.prove(compiled(file)).passed
        elif part.kind == "text":
            output = said(run, file)
            assert set(re.findall(r"LG\d{3}", output)) == {code}
            if "warning" in part.text:
                assert output.startswith(f"{part.text}graph of ")
            else:
                title, _, told = output.partition("\n\n")
                assert (title.partition("' ")[2], told) == ("has 1 mistake", part.text)
        elif part.kind == "console":
            for command, printed in re.findall(r"^\$ lstmgen (.+)\n((?:^(?!\$ ).*\n)*)", part.text, re.MULTILINE):
                result = run(*shlex.split(command))
                assert (result.exit_code, result.output) == (2, printed)
                assert set(re.findall(r"LG\d{3}", printed)) == {code}
        elif part.kind == "instead":
            for command in re.findall(r"`lstmgen ([^`]+)`", part.text):
                result = run(*shlex.split(command))
                assert result.exit_code == 0, result.output
                assert "LG" not in result.output
        else:
            assert part.kind == "pycon"
            failures: list[str] = []
            example = doctest.DocTestParser().get_doctest(part.text, {}, code, None, None)
            doctest.DocTestRunner(verbose=False).run(example, out=failures.append)
            assert not failures, "".join(failures)
        before = part.kind


@pytest.mark.parametrize(("code", "row"), ROWS, ids=[f"{code}, {row.wrong}" for code, row in ROWS])
def test_a_row_of_a_table_is_as_printed_and_its_remedy_works(code: str, row: Row, folder: Path) -> None:
    def write(text: str) -> Path:
        cell = TABLE_CELL.replace("2 * h", text)
        if row.kind == "statement":
            cell = TABLE_CELL.replace("    eq.output(", f"    {text}\n    eq.output(")
        assert cell != TABLE_CELL
        (folder / "my_cell.py").write_text(cell, encoding="utf-8")
        return folder / "my_cell.py"

    found = diagnostics(write(row.wrong))
    assert {each.code for each in found} == {code}
    message, ellipsis, _ = row.message.partition("...")
    assert found[0].message.startswith(message) if ellipsis else found[0].message == message
    assert compiled(write(row.right)).source
