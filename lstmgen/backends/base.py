"""What a back end is: a :class:`Backend` protocol that mypy checks, not a class to inherit from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

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

    A back end whose modules take other arrays than NumPy's has two methods more: ``to_device(array)`` copies an array
    of NumPy to one that a module of ``load`` takes, ``to_host(array)`` the other way round; what is NumPy's already it
    leaves as it is. See :func:`transfer_of`. One whose levels have ``"compiled"`` has a method ``check(source)``, which
    compiles what a module holds and raises what is wrong with it.
    """

    name: str
    target: Target

    def emit(
        self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str
    ) -> Mapping[str, str]: ...

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str: ...

    def load(self, source: str, module: str) -> ModuleType: ...

    def levels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Transfer:
    """How arrays get to where modules take them, and results back to NumPy."""

    to_device: Callable[[Any], Any]
    to_host: Callable[[Any], Any]


def _as_it_is(array: Any) -> Any:
    return array


ON_HOST = Transfer(_as_it_is, _as_it_is)
"""For modules that take and return NumPy's arrays."""


def transfer_of(backend: Backend) -> Transfer:
    """How arrays get to the modules that a back end loads: they stay as they are where it does not say."""
    return Transfer(getattr(backend, "to_device", _as_it_is), getattr(backend, "to_host", _as_it_is))
