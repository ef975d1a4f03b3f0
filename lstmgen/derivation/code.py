"""The code that computes a derivation: lines of a generated module, by the equations that stand in it as comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Value
from lstmgen.derivation.document import Listing, Section
from lstmgen.derivation.telling import Telling, Told


@dataclass(frozen=True)
class Computed:
    """What a line computes: the name of a value, the names that its equation reads, and the anchor of the line."""

    name: str
    reads: frozenset[str]
    anchor: str


@dataclass(frozen=True)
class Lines:
    """The anchors of the lines that compute a value; ``within``: only as a part of other values, not by itself."""

    anchors: tuple[str, ...]
    within: bool = False


def listing_section(source: str, function: str) -> tuple[Section, tuple[Computed, ...]]:
    """A function of a generated module as a section, and what its lines compute.

    Equations are comments there; one line may stand for several (``d_a_k = d_c * dc_da_k  for k = i, f, g``), and what
    a line has no room for stands below, further in.
    """
    rows = source.splitlines()
    first = next(k for k, row in enumerate(rows) if row.startswith(f"def {function}("))
    after = (k for k, row in enumerate(rows) if k > first and row and not row.startswith((" ", ")")))
    lines = rows[first : next(after, len(rows))]
    while not lines[-1].strip():
        lines.pop()
    computed = tuple(each for number in range(len(lines)) for each in _computed(lines, number))
    anchors = dict.fromkeys((int(each.anchor.removeprefix("line-")) - 1, each.anchor) for each in computed)
    return Section("code", "The code that computes it", (Listing(tuple(lines), "python", tuple(anchors)),)), computed


def _computed(lines: Sequence[str], number: int) -> Iterator[Computed]:
    """What the comment that begins in a line says is computed there."""
    comment = lines[number].lstrip()
    for below in lines[number + 1 :]:
        if not re.match(r" *#     ", below):
            break
        comment += " " + below.lstrip(" #")
    match = re.match(r"# (\w+) = ([^#]*?)(?:  for (\w+) = (\w+(?:, \w+)*))?(?:  \(.*\))?$", comment)
    if match is None:
        return
    name, right, letter, keys = match.groups()
    for key in keys.split(", ") if keys else [""]:
        reads = frozenset(_with_key(each, letter, key) for each in re.findall(r"[A-Za-z]\w*", right))
        yield Computed(_with_key(name, letter, key), reads, f"line-{number + 1}")


def _with_key(name: str, letter: str | None, key: str) -> str:
    """A name in which a letter stands for several keys, for one of them."""
    return name if letter is None else "_".join(key if word == letter else word for word in name.split("_"))


def together(parts: Sequence[Lines]) -> Lines:
    """The lines of several values."""
    return Lines(_in_order(anchor for each in parts for anchor in each.anchors), all(each.within for each in parts))


def _in_order(anchors: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(anchors), key=lambda each: int(each.removeprefix("line-"))))


def lines_of(telling: Telling, code: Sequence[Computed]) -> dict[str, Lines]:
    """The lines that compute what is told backward and summed over time, by the anchors of its equations."""
    told = (*telling.backward, *telling.sums)
    search = _Search(telling, code)
    return {f"backward-{each.value.name}": lines for each in told if (lines := search.of(each)).anchors}


class _Search:
    """Finds the lines of adjoints."""

    def __init__(self, telling: Telling, code: Sequence[Computed]) -> None:
        gradient = telling.derivation.gradient
        self.readers = gradient.adjoint.uses()
        graphs = (gradient.primal, gradient.adjoint)
        values = (value for graph in graphs for value in (*graph.free, *graph.definitions()))
        self.declared = {value.name for value in values}
        self.defined = {value: each.expression for value, each in gradient.adjoint.definitions().items()}
        self.code: dict[str, list[Computed]] = {}
        for each in code:
            self.code.setdefault(each.name, []).append(each)

    def of(self, told: Told) -> Lines:
        """The lines of an adjoint, with those of what is printed in place in its equation.

        The schedule composes adjoints: what one equation alone reads may have no line, but be part of that equation's.
        """
        *parts, target = [each.target for each in told.evidence] or [told.equation.target]
        while target.name not in self.code and isinstance(self.defined.get(target), Value):
            target = self.defined[target]  # the same by another name
        names = [each.name for each in (*parts, target)]
        within = target.name not in self.code
        if within:
            names += [each.name for each in self._reading(target)]
        return Lines(_in_order(anchor for name in names for anchor in self._with_coefficients(name)), within)

    def _reading(self, value: Value) -> Iterator[Value]:
        """The nearest values with a line that an adjoint without one is part of."""
        reader: Equation
        for reader in self.readers.get(value, ()):
            if reader.target.name in self.code:
                yield reader.target
            else:
                yield from self._reading(reader.target)

    def _with_coefficients(self, name: str) -> Iterator[str]:
        """The lines of a value, and of coefficients in it, named by the schedule: they hold local derivatives."""
        for computed in self.code.get(name, ()):
            yield computed.anchor
            for read in computed.reads - self.declared:
                yield from self._with_coefficients(read)
