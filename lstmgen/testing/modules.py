"""Generated modules for the time of a check."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from lstmgen.pipeline import Compiled

_COUNT = itertools.count()


@contextmanager
def loaded(compiled: Compiled) -> Iterator[ModuleType]:
    """The module of what was compiled, forgotten again afterwards."""
    name = f"_lstmgen_testing_{next(_COUNT)}_{compiled.module}"
    try:
        yield compiled.backend.load(compiled.source, name)
    finally:
        sys.modules.pop(name, None)
