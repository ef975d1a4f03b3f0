"""`docs/notations.md` shows the same three equations in every notation, as the text format prints them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from lstmgen import pipeline, plugins
from lstmgen.derivation.document import Derived, Equation
from lstmgen.derivation.formats.plain import plain
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.outline import outline
from lstmgen.finding import find_cell, find_notation

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "notations.md").read_text(encoding="utf-8")


def entries() -> Iterator[str]:
    """What the page has of each notation."""
    derivation = narrate(pipeline.derive_gradient(find_cell("lstm"), {}))
    for plugin in plugins.available("notations"):
        if plugin.packages == ("lstmgen",):
            yield _entry(find_notation(plugin.name), derivation)


def _entry(notation: Notation, derivation: Derivation) -> str:
    made = outline(derivation, notation)
    blocks = [block for section in made.sections for block in section.blocks]
    equations = {block.anchor: block for block in blocks if isinstance(block, Equation)}
    equations |= {block.result.anchor: block.result for block in blocks if isinstance(block, Derived)}
    three = [plain(equations[anchor].formula) for anchor in ("forward-a_f", "forward-c", "backward-a_f")]
    quoted = "\n".join(f"  {line}" for line in ("```text", *three, "```"))
    return f"- `{notation.name}`: {notation.description}\n\n{quoted}\n\n"


def test_the_page_describes_every_notation_and_shows_three_equations_in_it() -> None:
    described = PAGE[PAGE.index("\n- `") + 1 :]
    assert described.startswith("".join(entries()))
    assert described.count("\n  ```text") == len(list(entries()))


def test_the_site_shows_these_equations_as_mathematics() -> None:
    spec = importlib.util.spec_from_file_location("site_conf", DOCS / "conf.py")
    assert spec and spec.loader
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    source = [PAGE]
    conf.print_formulas(None, "notations", source)
    assert "```text" not in source[0]
    names = re.findall(r"^- `(\w+)`", PAGE, re.MULTILINE)
    assert re.findall(r"^  :notation: (\w+)$", source[0], re.MULTILINE) == names
    others = [PAGE]
    conf.print_formulas(None, "code", others)
    assert others == [PAGE]
