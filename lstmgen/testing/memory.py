"""The contract of generated modules: who owns which memory, and for how long.

Each check takes one module, draws the arrays that it needs, and yields what is wrong. None of it knows how a module
comes to do what it does.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np

from lstmgen.testing.trial import Arrays, Made, Trial, copied, differences, shared


def _strided(array: Any) -> Any:
    return np.stack([array, np.full_like(array, np.nan)], axis=-1)[..., 0]


def _misaligned(array: Any) -> Any:
    result = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


_LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "in Fortran order": lambda array: np.array(array, order="F"),
    "strided": _strided,
    "reversed": lambda array: array[::-1].copy()[::-1],
    "misaligned": _misaligned,
}


def any_layout(made: Made) -> Iterator[str]:
    """Arrays that are not contiguous, not aligned or read-only are taken as they are."""
    trial = made.draw()
    expected = trial.run()
    for word, change in _LAYOUTS.items():

        def lay(array: Any, change: Callable[[Any], Any] = change) -> Any:
            laid = change(array)
            laid.flags.writeable = False
            return laid

        try:
            found = trial.with_arrays(lay).run()
        except Exception as error:
            yield f"arrays that are {word} and read-only are refused: {type(error).__name__}: {error}"
        else:
            yield from (f"arrays that are {word} and read-only: {each}" for each in differences(found, expected))


def arguments_stay_as_they_are(made: Made) -> Iterator[str]:
    """No call writes to what it is given: not to inputs, states, cotangents or parameters."""
    for words, workspace in _with_and_without_workspace(made):
        trial = made.draw()
        before = copied(trial.arguments())
        _, residuals = trial.forward(workspace)
        yield from _changed(f"forward {words}", trial, before)
        trial.backward(residuals)
        yield from _changed(f"backward {words}", trial, before)
        trial.infer(workspace)
        yield from _changed(f"infer or step {words}", trial, before)


def results_have_memory_of_their_own(made: Made) -> Iterator[str]:
    """What is returned is no view of an argument, of the residuals, or of a workspace."""
    for words, workspace in _with_and_without_workspace(made):
        trial = made.draw(steps=1)  # one step: the length at which a view is most easily handed through
        results, residuals = trial.forward(workspace)
        results |= trial.backward(residuals)
        others = trial.arguments() | {f"residuals.{name}": array for name, array in _arrays_in(residuals)}
        yield from (f"{words}, {each}" for each in shared(results, others))
        yield from (f"{words}, {each}" for each in shared(trial.infer(workspace), trial.arguments()))
        if workspace is not None:
            before = copied(results)
            other = made.draw(steps=1, seed=1)
            other.backward(other.forward(workspace)[1])
            for message in differences(results, before):
                yield f"a later call on the same workspace changes results: {message}"


def residuals_hold(made: Made) -> Iterator[str]:
    """Residuals are read-only; backward may run twice on them, whatever happens to arguments and results meanwhile."""
    for words, workspace in _with_and_without_workspace(made):
        trial = made.draw()
        expected = made.draw().run()
        results, residuals = trial.forward(workspace)
        for name, array in _arrays_in(residuals):
            if array.flags.writeable:
                yield f"{words}, residuals.{name} can be written to"
        first = trial.backward(residuals)
        yield from (f"{words}, {each}" for each in differences(first, {name: expected[name] for name in first}))
        kept = copied(first)
        for array in (*results.values(), *first.values(), *trial.inputs.values(), *trial.initial.values()):
            array[...] = np.nan
        for message in differences(trial.backward(residuals), kept):
            yield f"{words}, backward again, after arguments and results were overwritten: {message}"


def stale_residuals_are_refused(made: Made) -> Iterator[str]:
    """Residuals in a workspace hold until its next forward; backward on them raises after that."""
    later_calls: dict[str, dict[str, Any]] = {
        "of equal sizes": {},
        "of fewer steps": {"steps": 2},
        "in float32": {"dtype": np.float32},
    }
    for words, options in later_calls.items():
        workspace = made.module.Workspace()
        trial, later = made.draw(), made.draw(seed=1, **options)
        expected = later.run()
        _, residuals = trial.forward(workspace)
        _, fresh = later.forward(workspace)
        try:
            trial.backward(residuals)
        except (RuntimeError, ValueError) as error:
            if not any(word in str(error).lower() for word in ("workspace", "overwritten", "residuals")):
                yield f"backward on overwritten residuals raises, but does not say why: {error}"
        else:
            yield f"backward takes residuals that a later forward {words} on the same workspace has overwritten"
        found = later.backward(fresh)
        yield from differences(found, {name: expected[name] for name in found})


def workspaces_can_be_used_again(made: Made) -> Iterator[str]:
    """One workspace serves calls of any sizes and dtypes, one after the other."""
    workspace = made.module.Workspace()
    calls: list[dict[str, Any]] = [{}, {"steps": 7, "larger": 1}, {}, {"steps": 2, "rows": 1}, {"dtype": np.float32}]
    calls += [{"steps": 0}, {"rows": 0}, {}]
    for seed, options in enumerate(calls):
        trial = made.draw(seed=seed, **options)
        for message in differences(trial.run(workspace), trial.run()):
            yield f"call {seed + 1} on one workspace ({options or 'as the first'}): {message}"


def two_threads(made: Made) -> Iterator[str]:
    """Two threads may call one module at once: here they take turns, a few lines each."""
    trials = [made.draw(steps=3, seed=seed) for seed in (0, 1)]
    trials[1] = replace(trials[1], p=trials[0].p)
    expected = [trial.run() for trial in trials]
    turns = _Turns(len(trials), str(getattr(made.module, "__file__", "")))
    with ThreadPoolExecutor(len(trials)) as pool:
        found = list(pool.map(turns.run, range(len(trials)), [trial.run for trial in trials]))
    wrong = {each for one, want in zip(found, expected, strict=True) for each in differences(one, want)}
    yield from (f"while another thread calls the module: {each}" for each in sorted(wrong))


class _Turns:
    """Lets threads run a file's code in turns, so that they interleave alike each time, whatever runs beside."""

    def __init__(self, threads: int, file: str) -> None:
        self.threads, self.file = threads, file
        self.turn = 0
        self.running = set(range(threads))
        self.changed = threading.Condition()

    def run(self, thread: int, call: Callable[[], Arrays]) -> Arrays:
        """Runs ``call``, giving the turn away at every third line of the file."""
        lines = itertools.count(1)

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            if frame.f_code.co_filename != self.file:
                return None
            if event == "line" and next(lines) % 3 == 0:
                self._give_away(thread)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            return call()
        finally:
            sys.settrace(before)
            with self.changed:
                self.running.discard(thread)
                self.changed.notify_all()

    def _give_away(self, thread: int) -> None:
        with self.changed:
            self.turn = (thread + 1) % self.threads
            self.changed.notify_all()
            # Not for ever: the other may be waiting for a lock that the code under test holds here.
            self.changed.wait_for(lambda: self.turn == thread or self.running == {thread}, timeout=0.1)


def _with_and_without_workspace(made: Made) -> Iterator[tuple[str, Any]]:
    yield "without a workspace", None
    yield "with a workspace", made.module.Workspace()


def _changed(function: str, trial: Trial, before: Mapping[str, Any]) -> Iterator[str]:
    for name, array in trial.arguments().items():
        if not np.array_equal(array, before[name]):
            yield f"{function} has written to {name}"
            array[...] = before[name]


def _arrays_in(record: Any, name: str = "arrays") -> Iterator[tuple[str, Any]]:
    """The arrays that residuals hold, whatever record they are; not those of a workspace."""
    if isinstance(record, np.ndarray):
        yield name, record
    elif isinstance(record, Mapping):
        for key, part in record.items():
            yield from _arrays_in(part, str(key))
    elif isinstance(record, tuple | list):
        for index, part in enumerate(record):
            yield from _arrays_in(part, f"{name}[{index}]")
    elif hasattr(record, "__dict__"):
        for key, part in vars(record).items():
            if isinstance(part, np.ndarray | Mapping | tuple | list):
                yield from _arrays_in(part, key)
