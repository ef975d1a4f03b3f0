"""What a back end is: a :class:`Backend` protocol that mypy checks, not a class to inherit from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from lstmgen.calculus.reverse import Gradient
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Schedule


@dataclass(frozen=True)
class Provenance:
    """What a generated file says of its origin: no dates, no paths."""

    version: str
    cell: str
    digest: str
    command: str


class Backend(Protocol):
    """Turns a scheduled gradient into source files.

    ``emit`` returns texts by file name, the module itself first; ``kernels`` returns its loop programs as text, for
    ``show --stage kernel``. ``load`` makes a module of the source without writing it. ``levels`` are the levels of
    proof that this machine allows, best first.
    """

    name: str
    target: Target

    def emit(
        self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str
    ) -> Mapping[str, str]: ...

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str: ...

    def load(self, source: str, module: str) -> ModuleType: ...

    def levels(self) -> tuple[str, ...]: ...
