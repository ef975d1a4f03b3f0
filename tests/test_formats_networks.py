"""Networks as text: for Graphviz, for Mermaid, and as a table of connections."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from sample_document import DOCUMENT, NETWORK, UNUSUAL

import lstmgen
from lstmgen.derivation.formats import dot, markdown, mermaid, text
from lstmgen.derivation.formats.connections import connections
from lstmgen.derivation.formats.figures import networks
from lstmgen.derivation.formats.plain import running


def test_mermaid_reads_no_words_as_its_own() -> None:
    """Within quotes stand letters, a few signs, and entities; so no label ends early, is Markdown, or is HTML."""
    labels = re.findall(r'"([^"]*)"', mermaid.chart(NETWORK))
    assert len(labels) == len(NETWORK.nodes) + 2
    assert all(re.fullmatch(r"(?:[\w =,()×·₋⁻]|#\d+;)*", each) for each in labels)
    odd = "".join(chr(int(match[1])) if match[1] else match[0] for match in re.finditer(r"#(\d+);|.", labels[4]))
    assert odd == UNUSUAL


def test_mermaid_has_one_statement_a_line() -> None:
    first, *others = mermaid.chart(NETWORK).splitlines()
    assert first == "flowchart LR"
    statement = r'  (classDef \w+ [\w:#,]+|n\d+[(\[]+"[^"]*"[)\]]+(:::\w+)?|n\d+ --[->](\|"[^"]*"\|)? n\d+)'
    assert all(re.fullmatch(statement, line) for line in others)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("printed", [dot.graph(NETWORK), lstmgen.derive("mlstm").render("dot")], ids=["odd", "mlstm"])
def test_graphviz_reads_the_graph(printed: str) -> None:
    done = subprocess.run(["dot", "-Tplain"], input=printed, capture_output=True, check=True, encoding="utf-8")
    assert not done.stderr
    assert len(re.findall("^node ", done.stdout, re.MULTILINE)) == printed.count("[label=")
    edges = re.findall("^edge .*$", done.stdout, re.MULTILINE)
    assert len(edges) == printed.count(" -> ")
    # States keep to one order from top to bottom: heights grow upwards, those that come in first.
    names = re.findall(r"rank=min; (.*) }", printed)[0].split(" [")[0].split(" -> ")
    heights = {name: float(y) for name, y in re.findall(r"^node (\w+) \S+ (\S+)", done.stdout, re.MULTILINE)}
    assert [heights[name] for name in names] == sorted((heights[name] for name in names), reverse=True)


def test_dot_escapes_words() -> None:
    assert "label=<&lt;b&gt;&amp;&quot;$%_\\{}" in dot.graph(NETWORK)


def test_graphviz_letters_formulas_and_names_circles_beside_them() -> None:
    printed = dot.graph(NETWORK)
    assert "label=<<I>c</I><SUB><I>t</I>−1</SUB>>" in printed
    assert "label=<×>, xlabel=<<I>c</I><SUB><I>t</I></SUB>>" in printed
    assert " = ×" not in printed
    assert "W_h" not in lstmgen.derive("gru").render("dot")


def test_graphviz_has_cell_states_on_top() -> None:
    printed = lstmgen.derive("lstm").render("dot")
    (first, last) = re.findall(r"rank=(?:min|max); (\w+) -> ", printed)
    assert all(re.search(rf"^  {name} \[label=<<I>c</I>", printed, re.MULTILINE) for name in (first, last))


def test_connections_say_what_every_node_reads() -> None:
    rows = [tuple(map(running, row)) for row in connections(NETWORK).rows]
    assert rows == [
        ("fₜ", "σ", "cₜ₋₁, xₜ"),  # through a junction
        ("(1)", UNUSUAL, "fₜ"),
        ("cₜ", "×", "÷(1), cₜ₋₁"),
        ("(2)", "+", "cₜ, −cₜ₋₁"),
        ("cₜ", "", "(2)"),  # the state that leaves is not the product of that name
    ]


def test_connections_mark_all_that_enters_through_a_junction_and_keep_words_apart() -> None:
    rows = {name: read for name, _, read in table_of("lstm_layernorm")}
    assert rows["f"].count("×") == 2
    (chosen,) = [read for _, sign, read in table_of("slstm") if sign.strip().startswith("if")]
    assert "then λ" in chosen and "else (" in chosen


def table_of(name: str) -> list[tuple[str, ...]]:
    (network,) = networks(lstmgen.derive(name).document(form="svg"))
    return [(running(row[0])[0], *map(running, row[1:])) for row in connections(network).rows]


def test_formats_of_whole_documents_show_what_a_picture_shows() -> None:
    assert f"```mermaid\n{mermaid.chart(NETWORK)}```" in markdown.render(DOCUMENT)
    assert "A circle of fₜ" in text.render(DOCUMENT) and "÷(1), cₜ₋₁" in text.render(DOCUMENT)
    assert dot.render(DOCUMENT) == dot.graph(NETWORK)
    assert mermaid.render(DOCUMENT, True) == mermaid.chart(NETWORK)
