"""Long formulas in several rows: broken before signs, the outermost first; and no more relations in a row than fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

from lstmgen.derivation.formats.pieces import Kind, Piece, pieces, torn
from lstmgen.derivation.formula import Formula, Relation, Several

Width = Callable[[Piece], float]
"""How wide a format prints a piece, in a unit of its own."""


@dataclass(frozen=True)
class Rows:
    """A formula in rows. ``head`` is what stands before the first sign of a relation; rows are aligned at that sign.

    Rows that begin with a relation's sign stand at the margin, others are indented: they carry on.
    """

    head: tuple[Piece, ...]
    rows: tuple[tuple[Piece, ...], ...]

    @property
    def broken(self) -> bool:
        """Whether there is more than one row."""
        return len(self.rows) > 1

    def joined(self) -> Rows:
        """The same rows with the head in the first of them, so that nothing is aligned."""
        return Rows((), ((*self.head, *self.rows[0]), *self.rows[1:]))

    def starts_with_sign(self, index: int) -> bool:
        """Whether a row begins with a sign that stands between two formulas."""
        first = self.rows[index][0].before
        return bool(first) and first[0].kind in (Kind.RELATION, Kind.BINARY, Kind.TIMES)

    def carries_on(self, index: int) -> bool:
        """Whether a row is indented."""
        first = self.rows[index][0].before
        return index > 0 and not (first and first[0].kind is Kind.RELATION)


def rows(formula: Formula, limit: float, width: Width, indent: float, inline: bool = False) -> Rows:
    """``formula`` in rows no wider than ``limit``, where its pieces allow it; ``indent`` is that of what carries on."""
    whole = pieces(formula, inline)
    signs = (at for at, each in enumerate(whole) if each.before and each.before[0].kind is Kind.RELATION)
    head = whole[: next(signs, 0)] if isinstance(formula, Relation | Several) else ()
    if _total(head, width) > limit / 2:  # nothing is gained by aligning what follows so far to the right
        head = ()
    found = _broken(whole, head, limit, width, indent, inline)
    # Nor where that has no room there, or is torn for it, and would not be without what stands before.
    if head and (_sticks_out(found, limit, width, indent) or _count(found) > len(whole)):
        alone = _broken(whole, (), limit, width, indent, inline)
        faults = ((_sticks_out(each, limit, width, indent), _count(each)) for each in (alone, found))
        return alone if next(faults) < next(faults) else found
    return found


def _sticks_out(found: Rows, limit: float, width: Width, indent: float) -> bool:
    return widest_row(found, width, indent) > limit


def _count(found: Rows) -> int:
    """How many pieces there are: more than the formula has, where some are torn."""
    return len(found.head) + sum(map(len, found.rows))


def spread(formula: Formula, limit: float, width: Width, inline: bool = False, least: int = 1) -> tuple[Formula, ...]:
    """Relations that are to stand beside each other, as many in a row as fit and equally many; others as they are.

    They have ``least`` rows, or more.
    """
    if not isinstance(formula, Several):
        return (formula,)
    relations = formula.relations
    for count in range(least, len(relations) + 1):
        size = ceil(len(relations) / count)
        parts = [relations[at : at + size] for at in range(0, len(relations), size)]
        made: tuple[Formula, ...] = tuple(Several(part) if len(part) > 1 else part[0] for part in parts)
        if all(_total(pieces(each, inline), width) <= limit for each in made):
            return made
    return relations


def _broken(
    whole: tuple[Piece, ...], head: tuple[Piece, ...], limit: float, width: Width, indent: float, inline: bool
) -> Rows:
    """Rows after ``head``. Nothing is torn of what fits into one."""
    room = limit - _total(head, width)
    rest = whole[len(head) :]
    if _total(rest, width) <= room:
        return Rows(head, (rest,))
    first, *others = rest
    pieces = [*_fitting((first,), room, room - indent, width, inline)]
    pieces += _fitting(tuple(others), room - indent, room - indent, width, inline)
    return Rows(head, tuple(_fill(tuple(pieces), room, width, indent)))


def widest_row(found: Rows, width: Width, indent: float) -> float:
    """The width of the widest row, with what stands before the first."""
    rows = (_total(row, width) + indent * found.carries_on(index) for index, row in enumerate(found.rows))
    return _total(found.head, width) + max(rows)


def _fitting(of: tuple[Piece, ...], first: float, room: float, width: Width, inline: bool) -> Iterator[Piece]:
    """The pieces, with those torn that are too wide for any row; the first has another room than the others."""
    for index, piece in enumerate(of):
        available = room if index else first
        parts = torn(piece, inline) if width(piece) > available else (piece,)
        yield from parts if parts == (piece,) else _fitting(parts, available, room, width, inline)


def _total(of: tuple[Piece, ...], width: Width) -> float:
    return sum(width(piece) for piece in of)


def _fill(rest: tuple[Piece, ...], room: float, width: Width, indent: float) -> list[tuple[Piece, ...]]:
    """Fills row after row; of the places to break that fit, the outermost, and of those the last."""
    filled: list[tuple[Piece, ...]] = []
    while _total(rest, width) > (available := room - indent * bool(filled)) and len(rest) > 1:
        fitting = [count for count in range(1, len(rest)) if _total(rest[:count], width) <= available] or [1]
        generous = [count for count in fitting if _total(rest[:count], width) >= available / 3] or fitting
        cut = min(generous, key=lambda count: (rest[count].depth, -count))
        filled.append(rest[:cut])
        rest = rest[cut:]
    return [*filled, rest]
