"""Links from equations to the generated code: every equation has lines, and they compute what they are said to."""

from __future__ import annotations

import re

import pytest

from lstmgen import finding, pipeline, plugins
from lstmgen.declare.symbols import Value
from lstmgen.derivation.additions import with_lines
from lstmgen.derivation.backward import backward_section, sums_section
from lstmgen.derivation.code import Computed, lines_of, listing_section
from lstmgen.derivation.document import Derived, Listing
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.page import open_page

BUILT_IN = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
SOURCE = '''
def _before(): ...


def _backward(
    a: int,
) -> int:
    """Backward."""
    # d_a_k = d_c * dc_da_k  for k = i, f
    multiply(d_c, dc_da, d_a)
    # k = tanh(a_k)  for k = z, r  (update gate)
    # d_b = total(d_a) +
    #     d_c
    add(d_b)


def _after(): ...
'''


def test_a_line_of_code_stands_for_every_value_that_it_names() -> None:
    section, computed = listing_section(SOURCE, "_backward")
    (listing,) = section.blocks
    assert isinstance(listing, Listing)
    assert listing.lines[0] == "def _backward("
    assert listing.lines[-1] == "    add(d_b)"
    assert computed == (
        Computed("d_a_i", frozenset({"d_c", "dc_da_i"}), "line-5"),
        Computed("d_a_f", frozenset({"d_c", "dc_da_f"}), "line-5"),
        Computed("z", frozenset({"tanh", "a_z"}), "line-7"),
        Computed("r", frozenset({"tanh", "a_r"}), "line-7"),
        Computed("d_b", frozenset({"total", "d_a", "d_c"}), "line-8"),
    )
    assert listing.anchors == ((4, "line-5"), (6, "line-7"), (7, "line-8"))


def named(comment: str) -> set[str]:
    """The names that a comment of the code says are computed below it."""
    match = re.match(r" *# (\w+) = ", comment)
    assert match, f"no equation: {comment}"
    keys = re.search(r"  for (\w) = ([\w, ]+)", comment)
    if keys is None:
        return {match[1]}
    return {"_".join(key if word == keys[1] else word for word in match[1].split("_")) for key in keys[2].split(", ")}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_equation_links_to_lines_that_compute_it_or_what_reads_it(name: str) -> None:
    found = finding.find_cell(name)
    gradient = pipeline.derive_gradient(found, {})
    page = open_page(narrate(gradient), finding.find_notation("standard"))
    source = pipeline.compile_cell(found, finding.find_backend("numpy"), {}).source
    section, computed = listing_section(source, "_backward")
    (listing,) = section.blocks
    assert isinstance(listing, Listing)
    texts = {anchor: listing.lines[number] for number, anchor in listing.anchors}
    readers = gradient.adjoint.uses()
    defined = {value: equation.expression for value, equation in gradient.adjoint.definitions().items()}
    declared = {value.name for graph in (gradient.primal, gradient.adjoint) for value in graph.definitions()}
    found = lines_of(page.telling, computed)
    sections = with_lines((backward_section(page), sums_section(page)), found)
    told = {f"backward-{each.value.name}": each for each in (*page.telling.backward, *page.telling.sums)}
    derived = [block for each in sections for block in each.blocks if isinstance(block, Derived)]
    assert {anchor for block in derived for anchor in block.result.anchors} == told.keys() == found.keys()
    for block in derived:
        assert set(block.lines) == {line for anchor in block.result.anchors for line in found[anchor].anchors}
    for anchor, each in told.items():
        target = each.equation.target
        while isinstance(defined.get(target), Value) and not any(target.name in named(text) for text in texts.values()):
            target = defined[target]  # the same by another name
        reading, waiting = {target.name}, [target]
        while waiting:
            more = [reader.target for reader in readers.get(waiting.pop(), ()) if reader.target.name not in reading]
            reading |= {value.name for value in more}
            waiting += more
        own = {equation.target.name for equation in each.evidence} | {target.name}
        assert found[anchor].anchors, f"{target.name} has no line"
        lines = [named(texts[line]) for line in found[anchor].anchors]
        if found[anchor].within:
            assert not any(target.name in names for names in lines)
            assert any(names & reading for names in lines)
        else:
            assert any(target.name in names for names in lines)
        for names in lines:  # coefficients have names of the schedule's
            assert names & (own | reading if found[anchor].within else own) or not names & declared
