"""Documents in LaTeX: escaped, compiled by pdflatex without an error or an overfull box."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sample_document import DOCUMENT, UNUSUAL

from lstmgen.derivation.document import Document
from lstmgen.derivation.formats.latex import render, text

PDFLATEX = shutil.which("pdflatex")
compiled = pytest.mark.skipif(PDFLATEX is None, reason="pdflatex is not installed")


def compile_(source: str, folder: Path) -> str:
    """The log of pdflatex, run twice as people do."""
    (folder / "page.tex").write_text(source, encoding="utf-8")
    command = [str(PDFLATEX), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "page.log").read_text(encoding="utf-8", errors="replace")


def overfull(log: str) -> list[str]:
    return [each for each in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(each) > 2]


@compiled
def test_an_article_compiles_without_overfull_boxes(tmp_path: Path) -> None:
    log = compile_(render(DOCUMENT), tmp_path)
    assert not overfull(log)
    assert "Missing character" not in log
    assert "multiply defined" not in log


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


def test_a_fragment_has_no_preamble() -> None:
    printed = render(DOCUMENT, fragment=True)
    assert "documentclass" not in printed and "begin{document}" not in printed
