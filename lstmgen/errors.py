"""What can go wrong, and whose fault it is.

Every mistake of a user is a :class:`UserError`; the command line prints it without a traceback and exits with 2. A
failed proof is a :class:`ProofError` (exit 1). Anything else that escapes is a defect of lstmgen and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a diagnostic is: an error stops the cell, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Place:
    """A line of a user's file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong with a declaration: a code, a place, what is wrong, and what to do about it."""

    code: str
    message: str
    hint: str
    place: Place | None = None
    source: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        lines = [f"{where}{self.severity} {self.code}: {self.message}"]
        if self.source:
            lines.append(f"    {self.source}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class LstmgenError(Exception):
    """Base of every error that lstmgen raises on purpose."""


class UserError(LstmgenError):
    """Something the user wrote or asked for cannot be done; ``code`` names the kind of mistake."""

    def __init__(self, message: str, *, code: str = "LG001", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        text = f"error {self.code}: {self.args[0]}"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class DeclarationError(UserError):
    """A cell is wrongly declared. ``diagnostics`` holds every mistake found, in the order of the file; ``code`` and
    ``hint`` are those of the first."""

    def __init__(self, cell: str, diagnostics: Iterable[Diagnostic]) -> None:
        self.cell = cell
        self.diagnostics = tuple(diagnostics)
        errors = [each for each in self.diagnostics if each.severity is Severity.ERROR]
        self.title = f"cell {cell!r} has {len(errors)} mistake{'s' if len(errors) != 1 else ''}"
        first = errors[0] if errors else Diagnostic("LG100", "", "")
        super().__init__(self.title, code=first.code, hint=first.hint)

    def __str__(self) -> str:
        return "\n\n".join([self.title, *map(str, self.diagnostics)])


class DeclarationWarning(UserWarning):
    """A declaration that is legal but probably not what was meant."""


class OptionError(UserError):
    """A cell's options contradict one another, or a value makes no sense: what a cell's own function raises."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, code="LG113", hint=hint)


class PluginError(UserError):
    """A plugin is unknown, claimed twice, or broken."""


class ProofError(LstmgenError):
    """What was emitted does not compute what was declared. ``report`` tells where; nothing was written."""

    def __init__(self, message: str, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class InternalError(LstmgenError):
    """A stage received something it was promised never to receive: a defect of lstmgen, not of the user."""

    def __str__(self) -> str:
        return (
            f"internal error: {self.args[0]}\n"
            "This is a defect of lstmgen, not of your cell. Please report it with the cell's file."
        )
