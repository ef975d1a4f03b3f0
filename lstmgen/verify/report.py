"""What a proof found, as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE, CHUNKED, RECOMPUTED = "one chunk", "in chunks", "recomputed"
"""How kernels run: all steps in one chunk, in several, and in several whose residuals backward rebuilds."""


@dataclass(frozen=True)
class Comparison:
    """One tensor compared: the worst error, relative to ``scale``, and the index where it is.

    ``way`` says how the kernels ran: :data:`WHOLE`, :data:`CHUNKED` or :data:`RECOMPUTED`.
    """

    tensor: str
    shape: tuple[int, ...]
    error: float
    limit: float
    where: tuple[int, ...] = ()
    way: str = WHOLE

    @property
    def passed(self) -> bool:
        """Whether the error keeps to the limit; one that is not a number does not."""
        return self.error <= self.limit


@dataclass(frozen=True)
class Taylor:
    """Orders at which the remainder shrinks: without the gradient (1 expected), and with it (2)."""

    first: float
    second: float
    at_rounding: bool

    @property
    def passed(self) -> bool:
        """Whether both orders are as expected; a remainder that is rounding alone has no order."""
        return self.at_rounding or (abs(self.first - 1.0) <= 0.2 and self.second >= 1.8)


@dataclass(frozen=True)
class Report:
    """A proof's findings. ``declared`` holds interpreted values against the equations as they were written,
    ``interpreted`` emitted against interpreted values, ``differenced`` emitted gradients against central finite
    differences, ``single`` the float32 code against the float64 code."""

    cell: str
    backend: str
    level: str
    sample: str
    declared: tuple[Comparison, ...]
    interpreted: tuple[Comparison, ...]
    differenced: tuple[Comparison, ...]
    single: tuple[Comparison, ...]
    taylor: Taylor
    entries: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every comparison keeps to its limit."""
        comparisons = (*self.declared, *self.interpreted, *self.differenced, *self.single)
        return self.taylor.passed and all(each.passed for each in comparisons)

    @property
    def summary(self) -> str:
        """One line."""
        worst = max((each.error for each in self.differenced), default=0.0)
        word = "proven" if self.passed else "NOT proven"
        return (
            f"{self.cell} for {self.backend}: {word} at level {self.level}; {self.entries} gradient entries within "
            f"{worst:.1e} of finite differences, {self.seconds:.2f} s"
        )

    def __str__(self) -> str:
        table = self._table()
        rule = "-" * max(map(len, table))
        lines = [
            f"{self.cell} for {self.backend}, proof at level {self.level}: {self.entries} gradient entries compared",
            f"sample: {self.sample}",
            "errors relative to each tensor's largest entry: emitted code against the equations, with all steps in one",
            "chunk, in several, and with residuals recomputed; gradients also against finite differences",
            "",
            table[0],
            rule,
            *table[1:-1],
            rule,
            table[-1],
            "",
            f"Taylor test    {self._taylor_text()}",
        ]
        traced = max(self.declared, key=lambda each: each.error, default=None)
        if traced:
            lines.append(
                f"declaration    equations as written and as traced differ by {_error(traced)} at worst, in "
                f"{traced.tensor} (limit {traced.limit:.0e})"
            )
        worst = max(self.single, key=lambda each: each.error, default=None)
        if worst:
            lines.append(
                f"float32        off by {_error(worst)} of the largest gradient entry at worst, in {worst.tensor} "
                f"(limit {worst.limit:.0e})"
            )
        verdict = "proven" if self.passed else "NOT PROVEN"
        return "\n".join([*lines, f"{verdict} in {self.seconds:.2f} s"])

    def _table(self) -> list[str]:
        """One line a tensor, after one of headings, and a last one with the limits."""
        differenced = {each.tensor: each for each in self.differenced}
        by_tensor: dict[str, dict[str, Comparison]] = {}
        for each in self.interpreted:
            by_tensor.setdefault(each.tensor, {})[each.way] = each
        ways = list(dict.fromkeys(each.way for each in self.interpreted))
        rows = [("tensor", "shape", *ways, "finite differences", "worst at")]
        for tensor, found in by_tensor.items():
            other = differenced.get(tensor)
            told = other or max(found.values(), key=lambda each: (not each.passed, each.error))
            errors = [_error(found[way]) if way in found else "" for way in ways]
            rows.append((tensor, _shape(told.shape), *errors, _error(other) if other else "", _where(told)))
        limits = [_limit([each for each in self.interpreted if each.way == way]) for way in ways]
        rows.append(("limit", "", *limits, _limit(self.differenced), ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

    def _taylor_text(self) -> str:
        taylor = self.taylor
        if taylor.at_rounding:
            return "the remainder is rounding: the loss is linear here"
        text = (
            f"remainder shrinks with order {taylor.first:.2f} without the gradient (1 expected), "
            f"{taylor.second:.2f} with it (2 expected)"
        )
        return text if taylor.passed else f"{text}  FAILED"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _error(comparison: Comparison) -> str:
    return f"{comparison.error:.1e}" + ("" if comparison.passed else "  FAILED")


def _limit(comparisons: Sequence[Comparison]) -> str:
    return f"{max((each.limit for each in comparisons), default=0.0):.0e}"


def _where(comparison: Comparison) -> str:
    return f"[{', '.join(map(str, comparison.where))}]"
