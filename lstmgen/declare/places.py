"""Where in a user's files something stands, and diagnostics about what stands there."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from lstmgen.errors import Diagnostic, Place, Severity

_HERE = os.path.dirname(os.path.abspath(__file__))


def caller() -> Place:
    """The nearest line outside this package's declaration code: where the user's equation stands."""
    frame = sys._getframe(1)
    while frame.f_back is not None and os.path.dirname(os.path.abspath(frame.f_code.co_filename)) == _HERE:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def code_of(function: Callable[..., Any]) -> types.CodeType:
    """The code of a plain function, that of the innermost one if others are wrapped around it."""
    code: types.CodeType = inspect.unwrap(function).__code__
    return code


def definition(function: Callable[..., Any]) -> Place:
    """The line that says ``def``, below the decorators."""
    code = code_of(function)
    line = code.co_firstlineno
    if linecache.getline(code.co_filename, line).lstrip().startswith("@"):
        lines = linecache.getlines(code.co_filename)[line:]
        line += next((count for count, text in enumerate(lines, 1) if re.match(r"\s*def\b", text)), 0)
    return Place(code.co_filename, line)


def raised_in(error: BaseException, function: Callable[..., Any]) -> Place:
    """The last line of the file of ``function`` that an exception passed through."""
    place = definition(function)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == place.file:
            place = Place(place.file, line)
    return place


def diagnostic(code: str, message: str, hint: str, place: Place, severity: Severity = Severity.ERROR) -> Diagnostic:
    """A diagnostic about a line, which it quotes."""
    return Diagnostic(code, message, hint, place, linecache.getline(place.file, place.line).strip(), severity)
