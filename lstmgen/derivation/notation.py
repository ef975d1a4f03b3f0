"""What a notation decides: names by role, and how time, products, affine maps and adjoints are written.

A notation is data. :mod:`lstmgen.derivation.naming` gives every value of a cell its symbol by it, and
:mod:`lstmgen.derivation.translate` writes expressions. A symbol whose role a notation has no letter for keeps the name
of its declaration, and so do symbols that would otherwise look alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lstmgen.derivation.formula import Accent, Style, Times


class Time(StrEnum):
    """Where the step stands that a value belongs to."""

    LOWERED = "lowered"  # f_t
    RAISED = "raised"  # f^t
    ANGLED = "angled"  # f^<t>
    SPELLED = "spelled"  # f, h_prev, h_next: as in code


class Adjoints(StrEnum):
    """How the gradient of the loss by ``v`` is written."""

    PARTIAL = "partial"  # as a fraction of partial signs
    DELTA = "delta"  # a delta before v
    BAR = "bar"  # a bar over v
    SPELLED = "spelled"  # d_v: as in code


class Affine(StrEnum):
    """How ``W x + U h + b`` is written. One matrix, or a bias each, needs weights that have their operands' letters."""

    SPLIT = "split"  # a matrix for each operand
    JOINED = "joined"  # one matrix times the operands in one vector
    PAIRED = "paired"  # a matrix and a bias for each operand


@dataclass(frozen=True)
class Letter:
    """How a value of some role is called.

    ``base`` is one letter, a Greek letter's English name, or a word; empty for the letter of the state that the value
    enters first. ``below`` is lowered at its right. ``index`` is what stands at the gate's parameters, where that is
    not ``below`` or ``base``.
    """

    base: str
    below: str = ""
    accent: Accent = Accent.NONE
    style: Style = Style.ITALIC
    index: str = ""

    def __post_init__(self) -> None:
        kinds = {"base": str, "below": str, "accent": Accent, "style": Style, "index": str}
        _check("a letter", ((name, getattr(self, name), kind) for name, kind in kinds.items()))


@dataclass(frozen=True)
class Weight:
    """How a parameter of some role is called: its letter, and an operand's letter that stands with the gate's.

    ``order`` tells whether the operand's letter stands before the gate's or after it.
    """

    base: str
    operand: str = ""
    operand_first: bool = False

    def __post_init__(self) -> None:
        _check("a weight", ((name, getattr(self, name), str) for name in ("base", "operand")))


@dataclass(frozen=True)
class Notation:
    """How a derivation is written.

    ``letters`` are names by role; a role is a description that declarations give, such as "forget gate", or "input".
    ``weights`` are those of parameters: "input weights", "recurrent weights", "bias", "peephole" (of a
    state that is no output, unit by unit), "gain" (of what else is scaled unit by unit). ``words`` replace
    parts of descriptions. ``preactivation`` is a letter that has the gate's below it, or empty where the gate's own
    gets a bar. ``stacked`` are the roles of gates in the order in which they are stacked, if that is not the order of
    their equations. ``remarks`` are sentences for the reader, by what they are about: see :data:`REMARKS`. Raises
    :class:`TypeError` for a letter, a weight or a choice that is of another type.
    """

    name: str
    description: str
    letters: Mapping[str, Letter] = field(default_factory=dict)
    weights: Mapping[str, Weight] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    time: Time = Time.LOWERED
    adjoints: Adjoints = Adjoints.PARTIAL
    affine: Affine = Affine.SPLIT
    elementwise: Times = Times.ELEMENTWISE
    matrix: Times = Times.MATRIX
    preactivation: str = "a"
    stacked: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whose = f"the notation {self.name!r}"
        _check(whose, ((f"letters[{role!r}]", each, Letter) for role, each in self.letters.items()))
        _check(whose, ((f"weights[{role!r}]", each, Weight) for role, each in self.weights.items()))
        _check(whose, ((f"words[{word!r}]", each, str) for word, each in self.words.items()))
        _check(whose, ((f"remarks[{what!r}]", each, str) for what, each in self.remarks.items()))
        _check(whose, ((f"stacked[{place}]", each, str) for place, each in enumerate(self.stacked)))
        choices = {"time": Time, "adjoints": Adjoints, "affine": Affine, "elementwise": Times, "matrix": Times}
        texts = ("name", "description", "preactivation")
        _check(whose, ((name, getattr(self, name), kind) for name, kind in choices.items()))
        _check(whose, ((name, getattr(self, name), str) for name in texts))


def _check(whose: str, found: Iterable[tuple[str, object, type]]) -> None:
    """Raises :class:`TypeError` for the first value that is of another type than it should be."""
    for what, value, kind in found:
        if not isinstance(value, kind):
            raise TypeError(f"{what} of {whose} is {value!r}, no {kind.__name__}")


REMARKS = ("affine", "kept by the update gate", "stacked")
"""What remarks can be about: affine maps (told where a cell has one with a bias), an update gate that multiplies the
state of the step before (others let it multiply the new one), and gates that are stacked.
"""

INPUT = "input"
INPUT_WEIGHTS = "input weights"
RECURRENT_WEIGHTS = "recurrent weights"
BIAS = "bias"
PEEPHOLE = "peephole"
GAIN = "gain"
"""Roles that no description gives: they are found from what a value does."""

UPDATE_GATE = "update gate"
"""The description that a remark is about."""
