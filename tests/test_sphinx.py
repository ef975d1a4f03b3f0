"""The site of `docs/` and the directive that it is made with. Needs Sphinx and MyST: pip install -e ".[docs]"."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lstmgen.finding import find_cell

MISSING = [name for name in ("sphinx", "myst_parser") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

ROOT = Path(__file__).resolve().parent.parent
CELL = '''from lstmgen.api import cell, {function}

@cell("mine")
def mine(eq):
    """A trial."""
    x = eq.input("x")
    h_prev = eq.state("h")
    h = eq.next("h", {function}(eq.affine("h", W=x, U=h_prev)), "hidden state")
    eq.output(h)
'''


def build(source: Path, builder: str = "html") -> tuple[Path, str]:
    """The folder of a built site, and what Sphinx complained of."""
    out = source / "_build" / builder
    command = [sys.executable, "-m", "sphinx", "-q", "-b", builder, "-d", str(source / "_build/trees")]
    environment = {**os.environ, "NO_COLOR": "1"}
    run = subprocess.run([*command, str(source), str(out)], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return out, run.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with an empty page."""
    (tmp_path / "conf.py").write_text(
        'project = "trial"\nextensions = ["lstmgen.sphinx"]\n'
        'latex_elements = {"fontpkg": ""}  # fonts that are not installed everywhere\n'
    )
    return tmp_path


def write(site: Path, *directives: str) -> None:
    (site / "index.rst").write_text("Trial\n=====\n\n" + "\n\n".join(directives) + "\n", encoding="utf-8")


def page(site: Path, *directives: str) -> str:
    """The HTML of a page with these directives, which give no warning."""
    write(site, *directives)
    out, complaints = build(site)
    assert complaints == ""
    return (out / "index.html").read_text(encoding="utf-8")


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    ours = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", ours, ignore=shutil.ignore_patterns("_build", "derivations"))
    out, complaints = build(ours, "text")
    assert complaints == ""
    index = (out / "derivations/index.txt").read_text(encoding="utf-8")
    for cell in (ROOT / "lstmgen/cells").glob("[a-z]*.py"):
        shown = (out / f"derivations/{cell.stem}.txt").read_text(encoding="utf-8")
        assert "Backward" in shown
        title = find_cell(cell.stem).doc.splitlines()[0].rstrip(".").replace("`", chr(34))
        assert shown.startswith(f"{cell.stem}: {title}\n")
        assert f"* {cell.stem}: {title}" in " ".join(index.split()), "a line for each cell"


def test_options_choose_notation_part_detail_and_settings(site: Path) -> None:
    whole = page(site, ".. lstmgen-derivation:: rnn")
    assert {"rnn-symbols", "rnn-backward", "rnn-example", "rnn-code"} <= set(re.findall(r'id="([^"]*)"', whole))
    full = page(site, ".. lstmgen-derivation:: rnn\n   :part: backward")
    assert re.findall(r'<section id="(rnn-[^"]*)"', full) == ["rnn-backward"] and "tanh" in full
    brief = page(site, ".. lstmgen-derivation:: rnn\n   :part: backward\n   :detail: brief")
    assert brief.count("<math") < full.count("<math")
    relu = page(site, ".. lstmgen-derivation:: rnn\n   :part: forward\n   :set: activation=relu")
    assert "tanh" in full and "ReLU" in relu and "tanh" not in relu
    noted = page(site, ".. lstmgen-derivation:: lstm\n   :part: forward\n   :notation: ng\n   :set: peephole=true")
    assert "Γ" in noted


def test_equations_can_be_shown_alone(site: Path) -> None:
    directive = ".. lstmgen-derivation:: lstm\n   :notation: ng\n   :equations: forward-c backward-a_f backward-U_f"
    shown = page(site, directive)
    assert shown.count('<div class="equation"') == 3 and "<section id=" not in shown.partition("<article")[2]
    write(site, ".. lstmgen-derivation:: lstm\n   :equations: forward-z")
    assert "there is no equation 'forward-z'; there are: forward-a_f, forward-f," in build(site)[1]


def test_derivations_on_one_page_have_anchors_of_their_own(site: Path) -> None:
    twice = page(site, *[".. lstmgen-derivation:: rnn"] * 2, ".. lstmgen-derivation:: cfn")
    names = re.findall(r'\sid="((?:rnn|cfn)-[^"]*)"', twice)
    assert len(names) == len(set(names)) and any(name.startswith("rnn-2-") for name in names)
    assert set(re.findall(r'href="#((?:rnn|cfn)-[^"]*)"', twice)) <= set(names)
    assert twice.count("<h1>") == 1, "the page's own"


def test_pages_share_one_style(site: Path) -> None:
    twice = page(site, *[".. lstmgen-derivation:: rnn\n   :part: forward"] * 2)
    assert "<style" not in twice and twice.count("_static/lstmgen.css") == 1
    style = (site / "_build/html/_static/lstmgen.css").read_text(encoding="utf-8")
    assert ".derivation .equation" in style and "{#" not in style


def test_other_builders_get_latex_and_text(site: Path) -> None:
    write(site, ".. lstmgen-derivation:: rnn")
    latex, complaints = build(site, "latex")
    (manual,) = latex.glob("*.tex")
    assert complaints == "" and r"\begin{alignat*}" in manual.read_text(encoding="utf-8")
    text, complaints = build(site, "text")
    assert complaints == "" and "∂L/∂hₜ" in (text / "index.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_within_a_document_of_sphinx(site: Path) -> None:
    write(site, ".. lstmgen-derivation:: rnn", ".. lstmgen-derivation:: rnn\n   :part: backward")
    latex, _ = build(site, "latex")
    (manual,) = latex.glob("*.tex")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", manual.name]
    run = subprocess.run(command, cwd=latex, capture_output=True, text=True, errors="replace")
    if re.search(r"File `[^']*' not found", run.stdout):
        pytest.skip("LaTeX lacks what Sphinx needs")
    assert run.returncode == 0, run.stdout[-3000:]


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        (".. lstmgen-derivation:: lstmm", "error LG201: there is no cell 'lstmm'"),
        (".. lstmgen-derivation:: lstm\n   :notation: runes", "error LG201: there is no notation 'runes'"),
        (".. lstmgen-derivation:: rnn\n   :part: end", "error LG401: there is no part 'end'"),
        (".. lstmgen-derivation:: rnn\n   :set: peephole=true", "error LG113: cell 'rnn' has no option 'peephole'"),
        (".. lstmgen-derivation:: rnn\n   :set: activation", "error LG113: :set: needs KEY=VALUE, not 'activation'"),
        (".. lstmgen-derivation:: rnn\n   :detail: little", 'invalid option value: (option: "detail"'),
        (".. lstmgen-derivation:: ./none.py", "error LG204: there is no file"),
    ],
)
def test_a_mistake_is_a_warning_at_the_directive(site: Path, directive: str, message: str) -> None:
    write(site, "Before.", directive, "After.")
    out, complaints = build(site)
    assert message in complaints and re.search(r"index\.rst:6: (WARNING|ERROR):", complaints), complaints
    assert "After." in (out / "index.html").read_text(encoding="utf-8")


def test_pages_follow_the_file_of_their_cell(site: Path) -> None:
    file = site / "cells" / "my_cell.py"
    write(site, ".. lstmgen-derivation:: cells/my_cell.py:mine\n   :part: forward")
    assert "there is no file" in build(site)[1]
    file.parent.mkdir()
    for function in ("tanh", "relu", "missing", "sigmoid"):
        file.write_text(CELL.format(function=function), encoding="utf-8")
        out, complaints = build(site)
        shown = (out / "index.html").read_text(encoding="utf-8")
        if function == "missing":
            assert "LG204" in complaints and "<math" not in shown
        else:
            assert complaints == "" and {"sigmoid": "σ", "relu": "ReLU"}.get(function, function) in shown
    file.write_text(CELL.format(function="tanh").replace("W=x, U=h_prev", "W=x, U=x"), encoding="utf-8")
    assert re.search(r"index\.rst:4: WARNING: .*LG\d+", build(site)[1], re.DOTALL)
