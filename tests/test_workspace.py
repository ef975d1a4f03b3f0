"""Workspaces: calls with equal shapes make no arrays but their results, and no call disturbs another."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from trial_modules import EVERY_CELL, chunked, compiled, made

from lstmgen.testing import memory
from lstmgen.testing.trial import POLICIES, Trial, copied, differences, shared

CHUNKS = pytest.mark.parametrize("chunks", [(512, 8), (1, 2)], ids=["usual chunks", "short chunks"])
CHECKS = pytest.mark.parametrize(
    "check",
    [
        memory.arguments_stay_as_they_are,
        memory.results_have_memory_of_their_own,
        memory.stale_residuals_are_refused,
        memory.workspaces_can_be_used_again,
    ],
    ids=lambda check: check.__name__,
)


@EVERY_CELL
@CHUNKS
@CHECKS
def test_the_contract_holds_of_every_cell(label: str, chunks: tuple[int, int], check: Any) -> None:
    """What the conformance suite asks of a few cells: who owns which memory, and for how long."""
    with chunked(made(label).module, *chunks):
        assert list(check(made(label))) == []


# -- what is made ------------------------------------------------------------------------------------------------------

ROWS = 1024  # so that the least array of a step, a number in each row, is larger than all else that a call makes
SMALL = 4096
# What np.einsum takes for itself, whatever it is given; before NumPy 2 it takes more.
BUFFERED = 2**16 if np.__version__ >= "2" else 2**17


def calls(trial: Trial, workspace: Any, policy: str) -> dict[str, Callable[[], Any]]:
    """The calls that may take a workspace, or residuals that lie in one."""
    initial = trial.state(trial.initial)
    _, residuals = trial.forward(workspace, policy)
    arguments: dict[str, Any] = {"initial": initial, "workspace": workspace, **trial.start}
    forward, infer, backward = trial.module.forward, trial.module.infer, trial.module.backward
    return {
        "backward": lambda: backward(trial.p, residuals, trial.seeds, d_final=trial.state(trial.d_final)),
        "infer": lambda: infer(trial.p, *trial.inputs.values(), **arguments),
        "forward": lambda: forward(trial.p, *trial.inputs.values(), residuals=policy, **arguments),
    }


@contextmanager
def unbuffered() -> Iterator[None]:
    """NumPy's calls take next to no memory for themselves: arrays that are not contiguous go through small buffers."""
    usual = np.setbufsize(16)
    try:
        yield
    finally:
        np.setbufsize(usual)


def besides_results(call: Callable[[], Any]) -> int:
    """The most that a call has at one time beyond what it returns, in bytes."""
    tracemalloc.start()
    try:
        results = call()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del results
    return peak - now


@EVERY_CELL
@pytest.mark.parametrize("policy", POLICIES)
def test_calls_with_equal_shapes_make_results_alone(label: str, policy: str) -> None:
    """Neither arrays that live on nor any for a moment: no operand is copied, no operation without a place."""
    trial = made(label).draw(steps=11, rows=ROWS)  # two chunks, the last shorter than the first
    workspace = trial.module.Workspace()
    source = compiled(label).source
    kernel = source[source.index("\ndef _backward(") : source.index("\n_DIMS")]
    limits = dict.fromkeys(("forward", "infer", "backward"), SMALL)
    if ".argmax(" in kernel:
        del limits["backward"]  # the places of maxima are NumPy's to find, and an array of numbers
    elif "np.einsum(" in kernel:
        limits["backward"] += BUFFERED
    with unbuffered():
        for call in calls(trial, workspace, policy).values():
            call()
        for name, call in calls(trial, workspace, policy).items():
            needed = besides_results(call)
            assert needed <= limits.get(name, needed), name


def test_an_array_of_one_step_would_be_noticed() -> None:
    trial = made("built-in rnn").draw(steps=11, rows=ROWS)
    with unbuffered():
        assert besides_results(lambda: np.tanh(np.tanh(trial.inputs["x"][0, :, 0]))) > SMALL
        assert besides_results(lambda: trial.module.infer(trial.p, trial.inputs["x"])) > 10 * SMALL


@EVERY_CELL
@CHUNKS
@pytest.mark.parametrize("policy", POLICIES)
def test_a_workspace_keeps_its_arrays(label: str, policy: str, chunks: tuple[int, int]) -> None:
    """The same arrays, not others of their shapes, as often as the shapes are the same."""
    with chunked(made(label).module, *chunks):
        workspace = made(label).module.Workspace()
        made(label).draw().run(workspace, policy)
        first = memory.owned_by("workspace", workspace)
        for seed in (1, 2):
            made(label).draw(seed=seed).run(workspace, policy)
            later = memory.owned_by("workspace", workspace)
            assert later.keys() == first.keys()
            assert all(array is first[name] for name, array in later.items())


@pytest.mark.parametrize("policy", POLICIES)
def test_what_one_call_needs_is_not_kept_when_the_next_is_smaller(policy: str) -> None:
    """A workspace is no larger than its last calls of each kind need: a long sequence does not stay for ever."""
    trial = made("built-in lstm").draw(steps=100)
    short = made("built-in lstm").draw(steps=3)
    workspace = trial.module.Workspace()
    short.run(workspace, policy)
    usual = sum(array.nbytes for array in memory.owned_by("", workspace).values())
    trial.run(workspace, policy)
    assert sum(array.nbytes for array in memory.owned_by("", workspace).values()) > 2 * usual
    short.run(workspace, policy)
    assert sum(array.nbytes for array in memory.owned_by("", workspace).values()) == usual


# -- calls in between --------------------------------------------------------------------------------------------------

LATER: dict[str, dict[str, Any]] = {
    "of equal shapes": {},
    "of more steps": {"steps": 12},
    "of fewer rows": {"rows": 1},
    "of larger sizes": {"larger": 1},
    "in float32": {"dtype": np.float32},
    "without steps": {"steps": 0},
}


@EVERY_CELL
@CHUNKS
def test_inference_between_forward_and_backward_disturbs_nothing(label: str, chunks: tuple[int, int]) -> None:
    """Nor does a backward on residuals elsewhere."""
    with chunked(made(label).module, *chunks):
        trial = made(label).draw()
        others = [made(label).draw(seed=1, **options) for options in LATER.values()]
        elsewhere = [other.forward()[1] for other in others]
        for policy in POLICIES:
            workspace = trial.module.Workspace()
            results, residuals = trial.forward(workspace, policy)
            before, kept = copied(residuals.arrays), copied(results)
            expected = trial.backward(residuals)
            for other, theirs in zip(others, elsewhere, strict=True):
                other.infer(workspace)
                other.backward(theirs)
                for found, want in ((residuals.arrays, before), (results, kept)):
                    assert all(np.array_equal(found[name], array) for name, array in want.items())
                found = trial.backward(residuals)
                for name, array in expected.items():
                    np.testing.assert_array_equal(found[name], array, name, strict=True)


@EVERY_CELL
@CHUNKS
def test_no_call_reads_what_an_earlier_one_left(label: str, chunks: tuple[int, int]) -> None:
    """What adds up over chunks begins with zeros each time, and every array is written before it is read: all of them
    are overwritten here by what is not a number."""
    with chunked(made(label).module, *chunks):
        trial = made(label).draw()
        for policy in POLICIES:
            workspace = trial.module.Workspace()
            expected = trial.run(None, policy)
            trial.run(workspace, policy)
            for array in memory.owned_by("workspace", workspace).values():
                if array.ndim and array.dtype != bool:  # one of no dimensions is a number
                    array[array != 1.0] = np.nan  # the ones that biases are multiplied with are made with their array
            assert list(differences(trial.run(workspace, policy), expected)) == [], policy


@EVERY_CELL
@pytest.mark.parametrize("policy", POLICIES)
def test_results_are_no_views_of_the_workspace(label: str, policy: str) -> None:
    """Nor of the residuals or of arguments, for as few steps and rows as there can be and for several chunks."""
    for extent in ({"steps": 0}, {"steps": 1}, {"steps": 5}, {"steps": 1, "rows": 1}):
        trial = made(label).draw(**extent)
        with chunked(trial.module, 1, 2):
            workspace = trial.module.Workspace()
            earlier: dict[str, Any] = {}
            for _ in range(2):
                results, residuals = trial.forward(workspace, policy)
                results |= trial.backward(residuals) | trial.infer(workspace)
                owned = memory.owned_by("workspace", workspace) | memory.owned_by("residuals", residuals)
                assert owned
                assert list(shared(results, trial.arguments() | owned | earlier)) == []
                assert all(array.flags.writeable for array in results.values())
                earlier = results
