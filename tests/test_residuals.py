"""Residuals: what forward leaves for backward under either policy, and that gradients do not depend on it."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest
from trial_modules import EVERY_CELL, chunked, compiled, made

from lstmgen.schedule.work import ONE
from lstmgen.testing import memory
from lstmgen.testing.trial import POLICIES, Arrays, Made, Trial, differences

CHUNKS = {"one": (512, 8), "of one step": (1, 1), "of two steps": (1, 2), "by rows": (12, 1)}
"""How the steps are divided, as the least rows and steps of a chunk. Five steps of three rows are no multiple of two
steps, nor of twelve rows."""

EDGES: list[dict[str, Any]] = [{}, {"steps": 0}, {"steps": 1}, {"rows": 0}, {"rows": 1}, {"steps": 0, "rows": 0}]


def gradients(trial: Trial, policy: str, workspace: Any = None) -> Arrays:
    return trial.backward(trial.forward(workspace, policy)[1])


def size(arrays: Any) -> int:
    """The bytes of arrays, and of what they are a part of."""
    return sum(each.nbytes for each in memory.owned_by("", arrays).values())


# -- gradients ---------------------------------------------------------------------------------------------------------


@EVERY_CELL
@pytest.mark.parametrize("chunks", CHUNKS)
def test_what_is_rebuilt_gives_the_gradients_of_what_is_saved(label: str, chunks: str) -> None:
    module = made(label).module
    for extent, shares in product(EDGES, (False, True)):
        trial = made(label).draw(**extent)
        expected = gradients(trial, "save")  # in one chunk, which the proof of every cell holds against its equations
        with chunked(module, *CHUNKS[chunks]):
            for policy in POLICIES:
                found = gradients(trial, policy, module.Workspace() if shares else None)
                assert list(differences(found, expected)) == [], (extent, policy)


@EVERY_CELL
def test_a_pass_in_chunks_gives_the_results_of_one_in_one_piece(label: str) -> None:
    """Outputs, final states, and what inference and steps give; of as many steps as fit, and of one more."""
    module = made(label).module
    for steps, (rows, least) in product((6, 7), ((1, 3), (9, 1))):
        trial = made(label).draw(steps=steps)
        expected = trial.run()
        with chunked(module, rows, least):
            for policy, shares in product(POLICIES, (False, True)):
                found = trial.run(module.Workspace() if shares else None, policy)
                assert list(differences(found, expected)) == [], (steps, rows, least, policy)


@EVERY_CELL
def test_backward_may_run_twice_under_both_policies(label: str) -> None:
    module = made(label).module
    for chunks, policy, shares in product(("one", "of two steps"), POLICIES, (False, True)):
        with chunked(module, *CHUNKS[chunks]):
            trial = made(label).draw()
            _, residuals = trial.forward(module.Workspace() if shares else None, policy)
            kept = {name: array.copy() for name, array in residuals.arrays.items()}
            first, second = trial.backward(residuals), trial.backward(residuals)
            for found, before in ((second, first), (residuals.arrays, kept)):
                for name, array in before.items():
                    np.testing.assert_array_equal(found[name], array, f"{name}, {chunks}, {policy}", strict=True)


@EVERY_CELL
def test_residuals_of_several_forwards_do_not_mix(label: str) -> None:
    """Without a workspace every forward has arrays of its own, and so has every rebuilding."""
    trials = [made(label).draw(seed=seed, steps=4 + seed) for seed in (0, 1)]
    with chunked(made(label).module, *CHUNKS["of two steps"]):
        for policies in product(POLICIES, POLICIES):
            pairs = list(zip(trials, policies, strict=True))
            expected = [gradients(trial, policy) for trial, policy in pairs]
            residuals = [trial.forward(None, policy)[1] for trial, policy in pairs]
            for trial, left, want in zip(trials, residuals, expected, strict=True):
                assert list(differences(trial.backward(left), want)) == []


@EVERY_CELL
@pytest.mark.parametrize("chunks", ["one", "of two steps"])
@pytest.mark.parametrize(
    "check", [memory.residuals_hold, memory.residual_policies_agree], ids=lambda check: check.__name__
)
def test_residuals_depend_on_nothing_that_a_caller_changes_meanwhile(label: str, check: Any, chunks: str) -> None:
    """Arguments and results are overwritten between forward and backward: the conformance suite's own checks, of every
    cell."""
    with chunked(made(label).module, *CHUNKS[chunks]):
        assert list(check(made(label))) == []


# -- what is left ------------------------------------------------------------------------------------------------------


@EVERY_CELL
def test_what_is_left_for_recomputing_is_inputs_and_states_alone(label: str) -> None:
    """No more than each of them once: for every step, and states also after the last one; with the ones of a bias."""
    found, steps, rows = made(label), 20, 3
    declaration, schedule = compiled(label).declaration, compiled(label).schedule
    lasting = {value for state in declaration.states for value in (state.previous, state.next)}
    assert {*schedule.checkpoints} <= {*declaration.given, *lasting}
    with chunked(found.module, 1, 2):
        trial = found.draw(steps=steps, rows=rows)
        left = {policy: trial.forward(None, policy)[1] for policy in POLICIES}
    widths = [np.prod([_length(trial, dim) for dim in value.dims], dtype=int) for value in declaration.given]
    widths += [np.prod([_length(trial, dim) for dim in state.next.dims], dtype=int) for state in declaration.states]
    ones = sum(joint.parts.count(ONE) for joint in schedule.forward.joints)
    assert size(left["recompute"].arrays) <= 8 * rows * (steps + 1) * (sum(widths) + ones)
    assert size(left["recompute"]) == size(left["recompute"].arrays), "it holds on to nothing besides"
    assert {policy: residuals.policy for policy, residuals in left.items()} == {policy: policy for policy in POLICIES}


def _length(trial: Trial, dim: str) -> int:
    return int(trial.module._lengths(trial.p.sizes)[dim])


@pytest.fixture
def long_lstm() -> Trial:
    return made("built-in lstm").draw(steps=200, rows=32, larger=20)


def test_recomputing_an_lstm_saves_gates_and_takes_less_memory_in_all(long_lstm: Trial) -> None:
    saved, fewer = (size(long_lstm.forward(None, policy)[1].arrays) for policy in POLICIES)
    assert fewer < 0.5 * saved  # four gates and tanh(c) are rebuilt; x, h and c are not
    peaks = []
    for policy in POLICIES:
        tracemalloc.start()
        gradients(long_lstm, policy)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] - 0.8 * (saved - fewer)


@pytest.mark.parametrize("policy", POLICIES)
def test_inference_keeps_no_step(long_lstm: Trial, policy: str) -> None:
    """A step more takes memory for what shows the step to the loop, but next to none for values."""
    left = size(long_lstm.forward(None, policy)[1].arrays)
    peaks = []
    for steps in (100, 200):
        trial = made("built-in lstm").draw(steps=steps, rows=32, larger=20)
        tracemalloc.start()
        results = trial.module.infer(trial.p, *trial.inputs.values())
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peaks.append(peak - now)
        del results
    assert (peaks[1] - peaks[0]) / 100 < 0.2 * left / 200


# -- the argument ------------------------------------------------------------------------------------------------------

MODULES: dict[str, Made] = {label: made(label) for label in ("built-in lstm", "clock")}


@pytest.mark.parametrize("label", MODULES)
@pytest.mark.parametrize("other", ["other", "", "Save", None, 1, ("save",), True])
def test_another_policy_is_told(label: str, other: Any) -> None:
    trial = MODULES[label].draw()
    with pytest.raises(ValueError) as caught:
        trial.forward(None, other)
    assert re.search(r"\bresiduals\b", str(caught.value))
    for word in ('"save"', '"recompute"', repr(other)):
        assert word in str(caught.value)


def test_inference_has_no_policy() -> None:
    trial = MODULES["built-in lstm"].draw()
    with pytest.raises(TypeError, match="residuals"):
        trial.module.infer(trial.p, *trial.inputs.values(), residuals="save")


@pytest.mark.parametrize(
    ("label", "wrong"), [*product(MODULES, ("policy", "input", "state")), ("clock", "start")], ids=str
)
def test_a_forward_that_is_refused_leaves_older_residuals_alone(label: str, wrong: str) -> None:
    trial = MODULES[label].draw()
    for policy in POLICIES:
        workspace = trial.module.Workspace()
        _, residuals = trial.forward(workspace, policy)
        expected = trial.backward(residuals)
        arguments: dict[str, Any] = {"initial": trial.state(trial.initial), "residuals": policy, **trial.start}
        inputs = list(trial.inputs.values())
        if wrong == "input":
            inputs = [array[..., :1, :] for array in inputs[:-1]] + [inputs[-1].astype(np.float32)]
        else:
            name, value = {"policy": ("residuals", "other"), "state": ("initial", 1), "start": ("start", 0.5)}[wrong]
            arguments[name] = value
        with pytest.raises((TypeError, ValueError)):
            trial.module.forward(trial.p, *inputs, workspace=workspace, **arguments)
        assert list(differences(trial.backward(residuals), expected)) == []


@EVERY_CELL
def test_residuals_are_not_those_of_other_parameters(label: str) -> None:
    trial = made(label).draw()
    for policy in POLICIES:
        _, residuals = trial.forward(None, policy)
        narrow = made(label).draw(dtype=np.float32)
        with pytest.raises((TypeError, ValueError), match=r"residuals|\bp\b"):
            narrow.module.backward(narrow.p, residuals)
