"""What a derivation gets from elsewhere: a picture, more sections, and the lines of code that compute it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lstmgen.derivation.document import Block, Derived, Figure, Listing, Section


@dataclass(frozen=True)
class Additions:
    """``lines`` are anchors of lines of code, by the names of what they compute."""

    picture: Figure | None = None
    sections: tuple[Section, ...] = ()
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def listing_section(source: str, function: str) -> tuple[Section, dict[str, tuple[str, ...]]]:
    """A function of a generated module as a section, and the anchors of its equations' lines by what they define.

    Equations are comments there; one line may stand for several (``d_a_k = d_c * dc_da_k  for k = i, f, g``).
    """
    rows = source.splitlines()
    first = next(k for k, row in enumerate(rows) if row.startswith(f"def {function}("))
    after = (k for k, row in enumerate(rows) if k > first and row and not row.startswith((" ", ")")))
    lines = rows[first : next(after, len(rows))]
    while not lines[-1].strip():
        lines.pop()
    found: dict[str, tuple[str, ...]] = {}
    anchors = []
    for number, line in enumerate(lines):
        names = _defined(line)
        if names:
            anchors.append((number, f"line-{number + 1}"))
        for name in names:
            found[name] = (*found.get(name, ()), f"line-{number + 1}")
    section = Section("code", "The code that computes it", (Listing(tuple(lines), "python", tuple(anchors)),))
    return section, found


def _defined(line: str) -> list[str]:
    """The values that a comment of generated code defines."""
    match = re.match(r" *# (\w+) = [^#]*?(?:  for (\w+) = (\w+(?:, \w+)*))?(?:  \(.*\))?$", line)
    if match is None:
        return []
    name, letter, keys = match.groups()
    if letter is None:
        return [name]
    return ["_".join(key if word == letter else word for word in name.split("_")) for key in keys.split(", ")]


def with_lines(sections: Sequence[Section], lines: Mapping[str, tuple[str, ...]]) -> tuple[Section, ...]:
    """Sections whose derived quantities say which lines of code compute them."""
    return tuple(
        replace(each, blocks=tuple(_with_lines(block, lines) for block in each.blocks)) if lines else each
        for each in sections
    )


def _with_lines(block: Block, lines: Mapping[str, tuple[str, ...]]) -> Block:
    evidence = block.result.evidence if isinstance(block, Derived) else None
    if not isinstance(block, Derived) or not isinstance(evidence, tuple):
        return block
    names = [equation.target.name for equation in evidence]
    return replace(block, lines=tuple(anchor for name in names for anchor in lines.get(name, ())))
