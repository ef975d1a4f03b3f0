"""What every implementation gives: calls to time, and their results as arrays by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Array = Any
Arrays = dict[str, Array]

FORWARD, INFERENCE, TRAINING = "forward", "inference", "forward+backward"
MEASURES = (FORWARD, INFERENCE, TRAINING)
"""Forward saves what backward needs, inference does not; forward+backward ends with every gradient."""


@dataclass(frozen=True)
class Timed:
    """One call without arguments, and its results as arrays by tensor.

    Tensors are ``output h``, ``final h``, ``d_W_f`` (of a parameter), ``d_x`` (of an input) and ``d_initial h``; shapes
    are those of generated modules. The matrix products alone have no ``arrays``.
    """

    call: Callable[[], Any]
    arrays: Callable[[Any], Arrays] | None = None


Implementation = Mapping[str, Timed]
"""What an implementation can do, by measure."""


def is_gradient(tensor: str) -> bool:
    """Whether a tensor is one that backward gives."""
    return tensor.startswith("d_")
