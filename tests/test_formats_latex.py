"""Documents in LaTeX: escaped, compiled by pdflatex without an error or an overfull box."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sample_document import DOCUMENT, UNUSUAL, equals, f, i
from unusual_cell import unusual
from whole_documents import whole_document, whole_documents

from lstmgen.derivation.document import Derived, Document, Table
from lstmgen.derivation.formats.latex import render, text

PDFLATEX = shutil.which("pdflatex")
compiled = pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")


def compile_(source: str, folder: Path, times: int = 2) -> str:
    """The log of pdflatex, run twice as people do, for its bookmarks; once is enough for all else."""
    (folder / "page.tex").write_text(source, encoding="utf-8")
    # Lines of the log are not folded, so that what they say can be found.
    environment = {**os.environ, "max_print_line": "1000"}
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    for _ in range(times):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "page.log").read_text(encoding="utf-8", errors="replace")


def faults(log: str) -> list[str]:
    """What a log complains of: boxes too wide or too high, characters that no font has, links that lead nowhere."""
    wide = [found[0] for found in re.finditer(r"Overfull \\[hv]box \(([\d.]+)pt.*\n(.*)", log) if float(found[1]) > 2]
    words = r"Missing character|multiply defined|undefined|does not exist|has been referenced|same identifier"
    return wide + [line for line in log.splitlines() if re.search(words, line)]


@compiled
def test_an_article_compiles_without_overfull_boxes(tmp_path: Path) -> None:
    assert not faults(compile_(render(DOCUMENT), tmp_path))


@compiled
def test_every_cell_and_every_notation_compile(tmp_path: Path) -> None:
    documents = whole_documents("latex")

    def compiled_alone(item: tuple[int, str]) -> str:
        number, source = item
        folder = tmp_path / str(number)
        folder.mkdir()
        return compile_(source, folder, times=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        logs = list(pool.map(compiled_alone, enumerate(documents.values())))
    told = [f"{name}: {fault}" for name, log in zip(documents, logs, strict=True) for fault in faults(log)]
    assert not told, "\n".join(told)


@compiled
def test_a_cell_of_unusual_words_and_names_compiles(tmp_path: Path) -> None:
    source = whole_document(unusual, "latex")
    assert "input{secret}" not in source.replace(r"\textbackslash{}input\{secret\}", "")
    assert not faults(compile_(source, tmp_path))


@compiled
def test_faults_are_found(tmp_path: Path) -> None:
    lines = [
        r"\documentclass{article}\usepackage{hyperref}\begin{document}",
        r"\hyperlink{nowhere}{a}\char200",
        "x" * 200,
        r"\ref{nothing}\end{document}",
    ]
    found = "\n".join(faults(compile_("\n".join(lines), tmp_path)))
    for expected in ("Overfull", "Missing character", "nowhere", "nothing"):
        assert expected in found


@compiled
def test_the_lstm_takes_six_pages_at_most(tmp_path: Path) -> None:
    log = compile_(whole_document("lstm", "latex"), tmp_path, times=1)
    pages = re.search(r"Output written on page.pdf \((\d+) pages", log)
    assert pages is not None
    assert int(pages[1]) <= 6


@compiled
@pytest.mark.parametrize("section", DOCUMENT.sections, ids=lambda section: section.name)
def test_each_part_compiles_as_a_fragment(section: object, tmp_path: Path) -> None:
    part: Document = replace(DOCUMENT, lead=(), sections=tuple(s for s in DOCUMENT.sections if s == section))
    printed = render(part, fragment=True)
    packages = re.search(r"^% Needs \\usepackage of (.*)\.$", printed, re.MULTILINE)
    assert packages is not None
    head = "\\documentclass{article}\\usepackage[a4paper,margin=22mm]{geometry}\\usepackage[T1]{fontenc}"
    head += f"\\usepackage{{{packages[1].replace(' ', '')}}}"
    compile_(f"{head}\\begin{{document}}\n{printed}\\end{{document}}\n", tmp_path)


def test_users_words_are_escaped() -> None:
    printed = text(UNUSUAL)
    assert r"\&" in printed and r"\textbackslash{}\{\}\textasciitilde{}\textasciicircum{}\#" in printed
    assert "[U+65E5]" in printed  # pdfLaTeX has no such letter
    assert not re.search(r"(?<!\\)[&%#_]", printed)


def test_what_is_derived_links_to_where_it_comes_from() -> None:
    printed = render(DOCUMENT)
    targets = set(re.findall(r"\\lgtarget\{([^}#]*)\}", printed))
    links = set(re.findall(r"\\hyperlink\{([^}]*)\}", printed))
    assert links == {"eq-4", "eq-5", "line-2", "line-3"}
    assert links <= targets


def test_a_page_never_ends_between_steps_and_their_result_nor_within_few_equations() -> None:
    derived = next(block for section in DOCUMENT.sections for block in section.blocks if isinstance(block, Derived))
    assert derived.steps
    for blocks in ((derived,), (derived.steps[0], derived.result)):
        printed = render(Document("", "", blocks, ()), fragment=True)
        display = printed[printed.index(r"\begin{alignat*}") :]
        ends = re.findall(r"\\\\(.?)", display)
        assert ends and set(ends) == {"*"}


def test_where_a_result_comes_from_stands_at_the_margin() -> None:
    assert re.search(r"\\tag\*\{\\small from \\hyperlink", render(DOCUMENT))


def test_lines_of_formulas_are_aligned_as_equations_are() -> None:
    table = Table((), (((equals(f, i),),), ((equals(i, f),),)))
    printed = render(Document("", "", (table,), ()), fragment=True)
    assert r"\begin{tabular}" not in printed and "f_t & {}= i_t" in printed and "i_t & {}= f_t" in printed


def test_a_fragment_has_no_preamble() -> None:
    printed = render(DOCUMENT, fragment=True)
    assert "documentclass" not in printed and "begin{document}" not in printed
