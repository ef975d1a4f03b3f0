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
from functools import partial
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from lstmgen.testing.refusals import Wrong, refused
from lstmgen.testing.trial import POLICIES, Arrays, Made, Trial, copied, shared, writeable


def _strided(array: Any) -> Any:
    return np.stack([array, np.full_like(array, np.nan)], axis=-1)[..., 0]


def _misaligned(array: Any) -> Any:
    result = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


_LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "in Fortran order": lambda array: array.copy(order="F"),
    "strided": _strided,
    "reversed": lambda array: array[::-1].copy()[::-1],
}
_LAYOUTS_OF_NUMPY: dict[str, Callable[[Any], Any]] = {"misaligned": _misaligned}  # no device reads such arrays


def any_layout(made: Made) -> Iterator[str]:
    """Arrays that are not contiguous, not aligned or read-only are taken as they are."""
    trial = made.draw()
    expected = trial.run()
    on_host = made.array_type is np.ndarray
    for word, change in (_LAYOUTS | (_LAYOUTS_OF_NUMPY if on_host else {})).items():

        def lay(array: Any, change: Callable[[Any], Any] = change) -> Any:
            laid = change(array)
            if on_host:  # other libraries have no arrays that are read-only
                laid.flags.writeable = False
            return laid

        try:
            found = trial.with_arrays(lay).run()
        except Exception as error:
            yield f"arrays that are {word} and read-only are refused: {type(error).__name__}: {error}"
        else:
            yield from (f"arrays that are {word} and read-only: {each}" for each in made.differences(found, expected))


def arguments_stay_as_they_are(made: Made) -> Iterator[str]:
    """No call writes to what it is given: not to inputs, states, cotangents or parameters."""
    for words, workspace, policy in _circumstances(made):
        trial = made.draw()
        before = copied(trial.arguments())
        _, residuals = trial.forward(workspace, policy)
        yield from _changed(f"forward {words}", trial, before)
        trial.backward(residuals)
        yield from _changed(f"backward {words}", trial, before)
        trial.infer(workspace)
        yield from _changed(f"infer or step {words}", trial, before)


def results_have_memory_of_their_own(made: Made) -> Iterator[str]:
    """What is returned is no view of an argument, of the residuals, or of a workspace."""
    for words, workspace, policy in _circumstances(made):
        trial = made.draw(steps=1)  # one step: the length at which a view is most easily handed through
        results, residuals = trial.forward(workspace, policy)
        results |= trial.backward(residuals) | trial.infer(workspace)
        others = trial.arguments()
        for name, record in (("residuals", residuals), ("workspace", workspace)):
            others |= owned_by(name, record, made.array_type)
        yield from (f"{words}, {each}" for each in shared(results, others))
        if workspace is not None:
            before = copied(results)
            other = made.draw(steps=1, seed=1)
            other.backward(other.forward(workspace, policy)[1])
            other.infer(workspace)
            for message in made.differences(results, before):
                yield f"{words}, a later call on the same workspace changes results: {message}"


def residuals_hold(made: Made) -> Iterator[str]:
    """Residuals are read-only; backward may run twice on them, whatever happens to arguments and results meanwhile."""
    for words, workspace, policy in _circumstances(made):
        trial = made.draw()
        expected = made.draw().run()
        results, residuals = trial.forward(workspace, policy)
        for name, array in public_arrays(residuals, array_type=made.array_type):
            # A copy may be written to, as everything may be where arrays cannot be read-only.
            owners = owned_by("residuals", residuals, made.array_type)
            if writeable(array) and any(shared({name: array}, owners)):
                yield f"{words}, residuals.{name} can be written to"
        first = trial.backward(residuals)
        yield from (f"{words}, {each}" for each in made.differences(first, {name: expected[name] for name in first}))
        kept = copied(first)
        for array in (*results.values(), *first.values(), *trial.inputs.values(), *trial.initial.values()):
            array[...] = np.nan
        for message in made.differences(trial.backward(residuals), kept):
            yield f"{words}, backward again, after arguments and results were overwritten: {message}"


def residual_policies_agree(made: Made) -> Iterator[str]:
    """Results are the same whether forward saves all that backward reads or leaves what it can be rebuilt from, which
    is no more but for a state after the last step; other words for a policy are refused."""
    calls: list[dict[str, Any]] = [{}, {"steps": 40}, {"steps": 1, "rows": 1}, {"steps": 0}, {"rows": 0}]
    for options in (*calls, {"dtype": np.float32}):
        trial = made.draw(**options)
        expected = trial.run()
        for message in made.differences(trial.run(policy="recompute"), expected):
            yield f'residuals="recompute" ({options or "as usual"}): {message}'
    trial = made.draw(steps=40)
    left = [public_arrays(trial.forward(policy=policy)[1], array_type=made.array_type) for policy in POLICIES]
    saved, fewer = (sum(each.nbytes for _, each in arrays) for arrays in left)
    if fewer > 1.1 * saved:
        yield f'residuals="recompute" leaves {fewer} bytes, "save" {saved}'
    yield from refused("residuals", Wrong("'other'", "other", ("save", "recompute")), partial(trial.forward, None))


def stale_residuals_are_refused(made: Made) -> Iterator[str]:
    """Residuals in a workspace hold until its next forward; backward on them raises after that."""
    later_calls: dict[str, dict[str, Any]] = {
        "of equal sizes": {},
        "of fewer steps": {"steps": 2},
        "in float32": {"dtype": np.float32},
    }
    for (words, options), *policies in itertools.product(later_calls.items(), POLICIES, POLICIES):
        workspace = made.module.Workspace()
        trial, later = made.draw(), made.draw(seed=1, **options)
        expected = later.run()
        _, residuals = trial.forward(workspace, policies[0])
        _, fresh = later.forward(workspace, policies[1])
        try:
            trial.backward(residuals)
        except (RuntimeError, ValueError) as error:
            if not any(word in str(error).lower() for word in ("workspace", "overwritten", "residuals")):
                yield f"backward on overwritten residuals raises, but does not say why: {error}"
        else:
            yield f"backward takes residuals that a later forward {words} on the same workspace has overwritten"
        found = later.backward(fresh)
        yield from made.differences(found, {name: expected[name] for name in found})


def workspaces_can_be_used_again(made: Made) -> Iterator[str]:
    """One workspace serves calls of any sizes, dtypes and policies, one after the other."""
    workspace = made.module.Workspace()
    calls: list[dict[str, Any]] = [{}, {"steps": 7, "larger": 1}, {}, {"steps": 2, "rows": 1}, {"dtype": np.float32}]
    calls += [{"steps": 0}, {"rows": 0}, {}]
    policies = ("recompute", "save", "save", "recompute", "save")
    for seed, (options, policy) in enumerate(itertools.product(calls, policies)):
        trial = made.draw(seed=seed, **options)
        for message in made.differences(trial.run(workspace, policy), trial.run()):
            yield f"call {seed + 1} on one workspace ({options or 'as the first'}, {policy!r}): {message}"


def two_threads(made: Made) -> Iterator[str]:
    """Two threads may call one module at once: here they take turns, a few lines each."""
    trials = [made.draw(steps=3, seed=seed) for seed in (0, 1)]
    trials[1] = replace(trials[1], p=trials[0].p)
    expected = [trial.run() for trial in trials]
    for policy in POLICIES:
        turns = _Turns(len(trials), str(getattr(made.module, "__file__", "")))
        calls = [partial(trial.run, policy=policy) for trial in trials]
        with ThreadPoolExecutor(len(trials)) as pool:
            found = list(pool.map(turns.run, range(len(trials)), calls))
        wrong = {each for one, want in zip(found, expected, strict=True) for each in made.differences(one, want)}
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


def _circumstances(made: Made) -> Iterator[tuple[str, Any, str]]:
    """With a workspace and without, for both policies: in words, the workspace or None, and the policy."""
    for policy in POLICIES:
        yield f"without a workspace, residuals={policy!r}", None, policy
        yield f"with a workspace, residuals={policy!r}", made.module.Workspace(), policy


def _changed(function: str, trial: Trial, before: Mapping[str, Any]) -> Iterator[str]:
    for name, array in trial.arguments().items():
        if not np.array_equal(array, before[name]):
            yield f"{function} has written to {name}"
            array[...] = before[name]


def public_arrays(record: Any, name: str = "arrays", array_type: type[Any] = np.ndarray) -> Iterator[tuple[str, Any]]:
    """The arrays that residuals hand to whoever asks, whatever record they are."""
    if isinstance(record, array_type):
        yield name, record
    elif isinstance(record, Mapping):
        for key, part in record.items():
            yield from public_arrays(part, str(key), array_type)
    elif isinstance(record, tuple | list):
        for index, part in enumerate(record):
            yield from public_arrays(part, f"{name}[{index}]", array_type)
    else:
        for key in dir(record):
            part = None if key.startswith("_") else getattr(record, key)
            if isinstance(part, (array_type, Mapping, tuple, list)):
                yield from public_arrays(part, key, array_type)


def owned_by(name: str, record: Any, array_type: type[Any] = np.ndarray) -> Arrays:
    """The arrays in whose memory a record's arrays lie, private ones too, by where they were found first."""
    found: Arrays = {}
    seen: set[int] = set()

    def look(part: Any, path: str) -> None:
        if id(part) in seen or isinstance(part, type | ModuleType | str):
            return
        seen.add(id(part))
        if isinstance(part, array_type):
            owner: Any = part
            while isinstance(owner.base, array_type):
                owner = owner.base
            if not any(owner is other for other in found.values()):
                found[path] = owner
        elif isinstance(part, Mapping):
            for key, inner in part.items():
                look(inner, f"{path}.{key}")
        elif isinstance(part, tuple | list):
            for index, inner in enumerate(part):
                look(inner, f"{path}[{index}]")
        else:
            for key in (*getattr(type(part), "__slots__", ()), *getattr(part, "__dict__", ())):
                look(getattr(part, key, None), f"{path}.{key}")

    look(record, name)
    return found
