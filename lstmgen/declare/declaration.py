"""What tracing a cell yields: its equations as declared, in frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sympy import Expr

from lstmgen.declare.symbols import Value
from lstmgen.errors import Diagnostic, Place


@dataclass(frozen=True)
class Equation:
    """``target = expression``: one named equation of a step.

    ``written`` is the expression as it was before: in a declaration as it came from the user's Python, not yet in
    canonical form; in a schedule as it means more to a reader than what is computed in its stead.
    """

    target: Value
    expression: Expr
    description: str = ""
    place: Place | None = None
    written: Expr | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Uniform:
    """Start values drawn uniformly from ±``bound``."""

    bound: float


@dataclass(frozen=True)
class Normal:
    """Start values drawn from a normal distribution with mean 0 and standard deviation ``std``."""

    std: float


@dataclass(frozen=True)
class Constant:
    """Start values all equal to ``value``."""

    value: float


def in_one_line(words: str) -> str:
    """A user's words about a part of a cell, as they are kept: comments of generated code end where a line does."""
    return printable(" ".join(words.split()))


def printable(words: str) -> str:
    """``words`` without characters that no file, page or terminal should be given; lines end where they did."""
    return "".join(each for each in words if each.isprintable() or each == "\n")


Init = Uniform | Normal | Constant | None
"""How a parameter starts; None means uniform in ±1/sqrt(hidden)."""


@dataclass(frozen=True)
class Parameter:
    """A trained array: its symbol, how it starts, and what it is."""

    value: Value
    init: Init = None
    description: str = ""


@dataclass(frozen=True)
class FixedArray:
    """An array that is no parameter: its symbol, its numbers (the last index running fastest), and what it is."""

    value: Value
    shape: tuple[int, ...]
    numbers: tuple[float, ...]
    description: str = ""

    def array(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The numbers as a float64 array."""
        return np.array(self.numbers, np.float64).reshape(self.shape)


@dataclass(frozen=True)
class State:
    """What a cell carries from step to step: the symbol of the step before and that of this step."""

    previous: Value
    next: Value

    @property
    def name(self) -> str:
        """The state's name, which is that of its value at this step."""
        return str(self.next.name)


@dataclass(frozen=True)
class Declaration:
    """A traced cell. Equations stand in declared order; ``options`` are the values it was traced with, in full."""

    name: str
    doc: str
    reference: str
    options: tuple[tuple[str, Any], ...]
    defaults: tuple[tuple[str, Any], ...]
    inputs: tuple[Value, ...]
    states: tuple[State, ...]
    parameters: tuple[Parameter, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Value, ...]
    constants: tuple[FixedArray, ...] = ()
    step_index: Value | None = None
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def fixed_sizes(self) -> dict[str, int]:
        """The dimensions whose size the constants fix."""
        return {dim: size for each in self.constants for dim, size in zip(each.value.dims, each.shape, strict=True)}

    @property
    def given(self) -> tuple[Value, ...]:
        """What comes from outside at every step: the inputs, and the step index where the cell uses it."""
        return (*self.inputs, *([self.step_index] if self.step_index else []))

    @property
    def changed_options(self) -> tuple[tuple[str, Any], ...]:
        """The options that differ from their defaults: those that a file name carries."""
        defaults = dict(self.defaults)
        return tuple((name, value) for name, value in self.options if value != defaults[name])
