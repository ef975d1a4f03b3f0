"""What checks find: named findings, all of them raised at once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Tried = TypeVar("Tried")
Found = Iterator[tuple[str, str]]
"""What one check yields: what it was found with, such as a cell, and what is wrong."""

_SHOWN = 6  # of one check, with one cell


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the check that found it, what it was found with, and what it is."""

    check: str
    about: str
    message: str

    def __str__(self) -> str:
        head, *rest = self.message.splitlines() or [""]
        return "\n".join([f"{self.check} ({self.about}): {head}", *(f"    {line}" for line in rest)])


class ConformanceError(AssertionError):
    """Some checks found something wrong. ``findings`` holds all of it, in the order of the checks."""

    def __init__(self, subject: str, findings: Iterable[Finding], count: int) -> None:
        self.subject = subject
        self.findings = tuple(findings)
        failed = len({each.check for each in self.findings})
        text = "\n".join(f"  {line}" for each in self.findings for line in str(each).splitlines())
        super().__init__(f"{subject} fails {failed} of {count} check{'s' if count != 1 else ''}:\n\n{text}")


def named(checks: Sequence[Callable[[Tried], Found]]) -> dict[str, Callable[[Tried], Found]]:
    """Checks by name: that of the function, in words."""
    return {check.__name__.replace("_", " "): check for check in checks}


def chosen(checks: Iterable[str], only: Iterable[str], skip: Iterable[str]) -> tuple[str, ...]:
    """The names of the checks to run; raises ValueError for one that there is not."""
    known, wanted, unwanted = list(checks), list(only), set(skip)
    for name in (*wanted, *unwanted):
        if name not in known:
            raise ValueError(f"there is no check {name!r}; there are: {', '.join(known)}")
    return tuple(name for name in known if (name in wanted or not wanted) and name not in unwanted)


def run_checks(
    subject: str, checks: Mapping[str, Callable[[Tried], Found]], names: Sequence[str], tried: Tried
) -> None:
    """Runs the named checks and raises :class:`ConformanceError` if any finds something or stops."""
    findings: list[Finding] = []
    for name in names:
        found: dict[str, list[str]] = {}
        try:
            for about, message in checks[name](tried):
                found.setdefault(about, []).append(message)
        except Exception as error:  # whatever the code under test raises is a finding
            found.setdefault("as a whole", []).append(stopped(error))
        for about, messages in found.items():
            findings += [Finding(name, about, message) for message in messages[:_SHOWN]]
            if len(messages) > _SHOWN:
                findings.append(Finding(name, about, f"and {len(messages) - _SHOWN} more"))
    if findings:
        raise ConformanceError(subject, findings, len(names))


def stopped(error: BaseException) -> str:
    """An exception where none should be: its type, its text, and the line that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno}, {frames[-1].line})" if frames else ""
    return f"stopped by {type(error).__name__}: {error}{place}"
