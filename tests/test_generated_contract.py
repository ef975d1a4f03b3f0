"""The contract of generated NumPy modules, held against the committed LSTM.

All of it follows from the published contract (API, layout, errors, aliasing, threads), not from how
the generator happens to meet it. The equations are written once more, by hand, in `reference`.
"""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generated import lstm_numpy as lstm

DTYPES = [np.float32, np.float64]
NAMES = tuple(f"{kind}_{gate}" for kind in "WUb" for gate in "figo")
STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 2, 4
SCRATCH = pytest.mark.parametrize("scratch", [lambda: None, lstm.Workspace], ids=["own", "shared"])


@dataclass
class Case:
    """Everything one forward and one backward take."""

    p: lstm.Parameters
    x: np.ndarray
    initial: Any  # a State, or None
    d_outputs: np.ndarray
    d_final: Any

    def inputs(self) -> list[np.ndarray]:
        return [self.p.flat, self.x, *self.initial, self.d_outputs, *self.d_final]

    def forward(self, workspace: lstm.Workspace | None = None) -> Any:
        return lstm.forward(self.p, self.x, initial=self.initial, workspace=workspace)

    def backward(self, residuals: Any) -> list[np.ndarray]:
        """The gradients of the parameters, `x`, and the initial `h` and `c`."""
        return flatten(lstm.backward(self.p, residuals, self.d_outputs, d_final=self.d_final))

    def run(self, workspace: lstm.Workspace | None = None) -> list[np.ndarray]:
        """The outputs, final states and gradients; then what `infer` and one `step` give."""
        outputs, final, residuals = self.forward(workspace)
        results = [outputs, *final, *self.backward(residuals)]
        outputs, final = lstm.infer(self.p, self.x, initial=self.initial, workspace=workspace)
        results += [outputs, *final]
        for x_t in self.x[:1]:
            output, state = lstm.step(self.p, x_t, state=self.initial)
            results += [output, *state]
        return results


def make(
    steps: int = STEPS,
    batch: int = BATCH,
    features: int = FEATURES,
    hidden: int = HIDDEN,
    dtype: Any = np.float64,
    seed: int = 0,
) -> Case:
    rng = np.random.default_rng(seed)

    def draw(*sizes: int) -> np.ndarray:
        return rng.normal(size=sizes).astype(dtype)

    def state() -> lstm.State:
        return lstm.State(h=draw(batch, hidden), c=draw(batch, hidden))

    p = lstm.Parameters.initialize(features=features, hidden=hidden, dtype=dtype, seed=seed)
    return Case(p, draw(steps, batch, features), state(), draw(steps, batch, hidden), state())


def flatten(grads: Any) -> list[np.ndarray]:
    return [grads.parameters.flat, grads.inputs.x, *grads.initial]


def reference(p: lstm.Parameters, x: np.ndarray, h: Any, c: Any) -> tuple[np.ndarray, Any, Any]:
    """The LSTM as a textbook has it; `tanh` gives a sigmoid that cannot overflow."""
    w = {name: np.asarray(getattr(p, name), np.float64) for name in NAMES}
    outputs = np.empty((*x.shape[:2], p.hidden))
    for t, x_t in enumerate(x.astype(np.float64)):
        a = {k: x_t @ w[f"W_{k}"].T + h @ w[f"U_{k}"].T + w[f"b_{k}"] for k in "figo"}
        f, i, o = (0.5 + 0.5 * np.tanh(0.5 * a[k]) for k in "fio")
        c = f * c + i * np.tanh(a["g"])
        h = outputs[t] = o * np.tanh(c)
    return outputs, h, c


def close(actual: Any, expected: Any, tolerance: float | None = None) -> None:
    """Equal but for the order of summation, relative to the largest entry; shapes are the same."""
    for got, want in zip(actual, expected, strict=True):
        tol = tolerance or (1e-5 if got.dtype == np.float32 else 1e-12)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, 0, tol * max(1.0, np.abs(want).max(initial=0)))


def identical(actual: Any, expected: Any) -> None:
    for got, want in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


def copies(arrays: Any) -> list[np.ndarray]:
    return [array.copy() for array in arrays]


def overlap(some: Any, others: Any) -> bool:
    return any(np.shares_memory(one, other) for one in some for other in others)


@contextmanager
def refused(argument: str, *fragments: str) -> Iterator[None]:
    """A TypeError or ValueError that names `argument` and says every fragment (a pattern)."""
    with pytest.raises((TypeError, ValueError)) as caught:
        yield
    for pattern in (rf"\b{argument}\b", *fragments):
        assert re.search(pattern, str(caught.value)), f"{caught.value!r} does not say {pattern}"


def shape(*sizes: int) -> str:
    """A pattern for a shape in a message."""
    return r"\(" + r",\s*".join(map(str, sizes)) + r",?\)"


# --- the shape of the API -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "positional", "keywords"),
    [
        (lstm.forward, 2, {"initial", "residuals", "workspace"}),
        (lstm.infer, 2, {"initial", "workspace"}),
        (lstm.step, 2, {"state"}),
        (lstm.backward, 3, {"d_final"}),
        (lstm.Parameters.initialize, 0, {"features", "hidden", "dtype", "seed"}),
    ],
)
def test_only_inputs_are_positional(function: Any, positional: int, keywords: set[str]) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    by_keyword = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert len(parameters) - len(by_keyword) == positional
    assert keywords <= by_keyword
    assert not {"lengths", "start"} & by_keyword, "the LSTM uses neither"


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_have_their_types_shapes_and_dtypes(dtype: Any) -> None:
    case = make(dtype=dtype)
    outputs, final, residuals = case.forward()
    grads = lstm.backward(case.p, residuals, case.d_outputs, d_final=case.d_final)
    assert issubclass(lstm.State, tuple)
    assert (lstm.State._fields, grads.inputs._fields) == (("h", "c"), ("x",))
    inferred, step = lstm.infer(case.p, case.x), lstm.step(case.p, case.x[0])
    assert {type(s) for s in (final, grads.initial, inferred[1], step[1])} == {lstm.State}
    assert type(grads.parameters) is lstm.Parameters
    assert grads.parameters.sizes == case.p.sizes
    wanted = [case.d_outputs, *case.d_final, case.p.flat, case.x, *case.initial]
    for got, like in zip([outputs, *final, *flatten(grads)], wanted, strict=True):
        assert type(got) is np.ndarray
        assert (got.shape, got.dtype) == (like.shape, like.dtype)
        assert got.flags.writeable, "results belong to the caller"


@pytest.mark.parametrize("dtype", DTYPES)
def test_infer_and_a_chain_of_steps_equal_forward(dtype: Any) -> None:
    case = make(dtype=dtype)
    outputs, final, _ = case.forward()
    inferred, inferred_final = lstm.infer(case.p, case.x, initial=case.initial)
    close([inferred, *inferred_final], [outputs, *final])
    state = case.initial
    for x_t, output in zip(case.x, outputs, strict=True):
        stepped, state = lstm.step(case.p, x_t, state=state)
        assert stepped.dtype == dtype
        close([stepped], [output])
    close(state, final)


@pytest.mark.parametrize("given", [None, "", "h", "c"])
def test_none_states_and_none_fields_mean_zeros(given: str | None) -> None:
    case, zero = make(), np.zeros((BATCH, HIDDEN))
    short = lstm.State(*(getattr(case.initial, k) if k in (given or "") else None for k in "hc"))
    full = lstm.State(*(zero if array is None else array for array in short))
    state = None if given is None else short
    expected = replace(case, initial=full, d_final=full).run()
    identical(replace(case, initial=state, d_final=state).run(), expected)


def test_no_output_cotangent_means_zeros() -> None:
    case = make()
    *_, residuals = case.forward()
    stretched = np.broadcast_to(0.0, case.d_outputs.shape)  # what the gradient of a sum looks like
    without = flatten(lstm.backward(case.p, residuals, d_final=case.d_final))
    close(without, replace(case, d_outputs=stretched).backward(residuals))
    assert not any(array.any() for array in flatten(lstm.backward(case.p, residuals)))


def test_cotangents_of_last_output_and_final_state_add() -> None:
    case = make()
    *_, residuals = case.forward()
    joined = case.d_outputs.copy()
    joined[-1] += case.d_final.h
    moved = replace(case, d_outputs=joined, d_final=lstm.State(h=None, c=case.d_final.c))
    close(case.backward(residuals), moved.backward(residuals))


@pytest.mark.parametrize("cut", [0, 1, 2, STEPS])
def test_two_parts_chained_through_states_equal_the_whole(cut: int) -> None:
    case = make()
    outputs, middle, residuals = lstm.forward(case.p, case.x[:cut], initial=case.initial)
    rest = Case(case.p, case.x[cut:], middle, case.d_outputs[cut:], case.d_final)
    rest_outputs, final, rest_residuals = rest.forward()
    d_rest, d_x_rest, d_h, d_c = rest.backward(rest_residuals)
    part = replace(case, d_outputs=case.d_outputs[:cut], d_final=lstm.State(d_h, d_c))
    d_part, d_x_part, *d_initial = part.backward(residuals)
    chained = [np.concatenate([outputs, rest_outputs]), *final]
    chained += [d_part + d_rest, np.concatenate([d_x_part, d_x_rest]), *d_initial]
    close(chained, case.run()[: len(chained)])


# --- the numbers ----------------------------------------------------------------------------------

ONES = [{size: 1} for size in ("steps", "batch", "features", "hidden")]
SIZES = [{}, *ONES, {"steps": 1, "batch": 1, "features": 1, "hidden": 1}, {"features": HIDDEN}]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_equals_the_textbook(sizes: dict[str, int], dtype: Any) -> None:
    case = make(**sizes, dtype=dtype)
    outputs, final, _ = case.forward()
    close([outputs, *final], reference(case.p, case.x, *case.initial))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradients_equal_finite_differences(sizes: dict[str, int]) -> None:
    case, eps = make(**({"steps": 3, "batch": 2, "hidden": 3} | sizes)), 1e-5

    def loss() -> float:
        outputs, final, _ = case.forward()
        pairs = zip([outputs, *final], [case.d_outputs, *case.d_final], strict=True)
        return float(sum((value * cotangent).sum() for value, cotangent in pairs))

    def numeric(array: np.ndarray) -> np.ndarray:
        result = np.empty_like(array)
        for at in np.ndindex(array.shape):
            value = array[at]
            array[at] = value + eps
            above = loss()
            array[at] = value - eps
            result[at] = (above - loss()) / (2 * eps)
            array[at] = value
        return result

    grads = case.backward(case.forward()[2])
    expected = [numeric(array) for array in (case.p.flat, case.x, *case.initial)]
    close(grads, expected, 1e-8)


def test_float32_gradients_equal_float64_gradients() -> None:
    narrow, wide = make(dtype=np.float32), make(dtype=np.float64)
    for into, values in zip(wide.inputs(), narrow.inputs(), strict=True):
        into[...] = values  # so that only the arithmetic differs
    close(narrow.run(), wide.run())


@pytest.mark.parametrize("empty", [{"steps": 0}, {"batch": 0}, {"steps": 0, "batch": 0}], ids=str)
def test_no_steps_or_no_batch_give_empties(empty: dict[str, int]) -> None:
    case = make(**empty)
    results = case.run()
    outputs, *final, d_p, _, d_h, d_c, inferred, h, c = results[:10]
    wanted = [case.d_outputs, *case.d_final, case.p.flat, case.x, *case.initial]
    assert [a.shape for a in results[:7]] == [a.shape for a in wanted]
    assert not d_p.any()
    identical([inferred, h, c], [outputs, *final])
    *_, residuals = case.forward()
    assert not any(array.any() for array in flatten(lstm.backward(case.p, residuals)))
    if len(case.x) == 0:
        identical([*final, d_h, d_c], [*case.initial, *case.d_final])
        assert not overlap(results, case.inputs()), "a copy, not the very arrays handed in"
    else:
        assert [a.shape for a in results[10:]] == [(0, HIDDEN)] * 3  # those of `step`


def test_nan_passes_through_and_stays_in_its_row() -> None:
    case = make()
    clean = case.forward()[0]
    case.x[1, 0, 0] = np.nan
    outputs, final, residuals = case.forward()
    assert np.isnan(outputs[1:, 0]).all()
    assert np.isnan(final.c[0]).all()
    close([outputs[:1], outputs[:, 1:]], [clean[:1], clean[:, 1:]])
    d_p, d_x, *_ = case.backward(residuals)
    assert np.isnan(d_p).any()
    assert np.isfinite(d_x[:, 1:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [0.06, 60.0])
@pytest.mark.parametrize("sweep", [False, True], ids=["saturated", "sweeping"])
def test_saturated_gates_neither_overflow_nor_warn(sweep: bool, weight: float, dtype: Any) -> None:
    steps, hidden = 200, 16  # one unit for each combination of the four gates' signs
    case = make(steps, 2, 1, hidden, dtype)
    for bit, gate in enumerate("figo"):
        signs = 1 - 2 * (np.arange(hidden) >> bit & 1)
        setattr(case.p, f"W_{gate}", (signs * weight).astype(dtype)[:, None])
    case.x = (1000 * np.sign(case.x)).astype(dtype)  # pre-activations of ±60, or ±60000
    if sweep:
        case.x *= np.linspace(0, 1, steps, dtype=dtype)[:, None, None]
    # Between the extremes, products of small gates may underflow to zero, as they should.
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore" if sweep else "raise"):
        warnings.simplefilter("error")
        results = case.run()
    assert all(np.isfinite(array).all() for array in results)
    expected = reference(case.p, case.x, *case.initial)
    close(results[:3], expected, 1e-4 if dtype == np.float32 else 1e-10)


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [HIDDEN, FEATURES])  # order goes by named dimension, not by size
def test_parameters_are_one_buffer_in_documented_order(hidden: int) -> None:
    p = make(hidden=hidden).p
    assert p.names == NAMES
    assert p.flat.ndim == 1
    assert p.flat.flags.c_contiguous
    p.flat[:] = np.arange(p.flat.size)
    shapes = {"W": (hidden, FEATURES), "U": (hidden, hidden), "b": (hidden,)}
    assert [getattr(p, name).shape for name in NAMES] == [shapes[name[0]] for name in NAMES]
    assert all(np.shares_memory(getattr(p, name), p.flat) for name in NAMES)
    identical([np.concatenate([getattr(p, name).ravel() for name in NAMES])], [p.flat])


@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype(np.float64)])
def test_parameters_tell_sizes_and_dtype(dtype: Any) -> None:
    p = lstm.Parameters.initialize(features=np.int64(2), hidden=np.int64(4), dtype=dtype, seed=0)
    assert (p.sizes.features, p.sizes.hidden) == (p.features, p.hidden) == (2, 4)
    assert p.dtype == p.flat.dtype == p.U_o.dtype == np.dtype(dtype)
    assert lstm.Parameters.initialize(features=1, hidden=1).dtype == np.float32


def test_views_write_through_and_assignment_copies_in() -> None:
    p = make().p
    p.W_f[0, 1] = 7.0
    assert p.flat[1] == 7.0
    given = np.full((HIDDEN, FEATURES), 3.0)
    p.W_f = given
    given[:] = -1.0
    p.W_f += 1.0
    np.testing.assert_array_equal(p.flat[:8], 4.0)
    p.W_f = np.asfortranarray(np.arange(8.0).reshape(HIDDEN, FEATURES))
    np.testing.assert_array_equal(p.flat[:8], np.arange(8.0))


def test_an_optimizer_step_is_one_operation() -> None:
    case = make()
    d_p, *_ = case.backward(case.forward()[2])
    expected = case.p.b_o - 0.1 * d_p[-HIDDEN:]
    case.p.flat -= 0.1 * d_p
    identical([case.p.b_o], [expected])


@pytest.mark.parametrize("wrong", [(4, 3), (2, 4), (1, 2), (4, 1), (8,), (1, 4, 2)])
def test_assignment_of_another_shape_is_refused(wrong: tuple[int, ...]) -> None:
    p = make().p  # several of these shapes would broadcast: silently, and wrongly
    before = p.flat.copy()
    with refused("W_f", shape(HIDDEN, FEATURES), shape(*wrong)):
        p.W_f = np.zeros(wrong)
    identical([p.flat], [before])


PICKLES = {f"pickle{k}": lambda p, k=k: pickle.loads(pickle.dumps(p, k)) for k in (2, 4, 5)}
CLONES: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy, **PICKLES}


@pytest.mark.parametrize("how", CLONES)
def test_parameters_survive_copying(how: str) -> None:
    case, original = make(), make().p
    twin = CLONES[how](case.p)
    assert type(twin) is lstm.Parameters
    assert (twin.sizes, twin.names, twin.dtype) == (original.sizes, NAMES, original.dtype)
    identical([twin.flat], [original.flat])
    identical(replace(case, p=twin).run(), case.run())
    twin.flat[:] = np.arange(twin.flat.size)
    twin.W_f[0, 0] = -5.0
    assert (twin.flat[0], twin.b_o[-1]) == (-5.0, twin.flat.size - 1)
    assert all(np.shares_memory(getattr(twin, name), twin.flat) for name in NAMES)
    if how != "copy":  # whether a shallow copy shares the buffer is its own business
        identical([case.p.flat], [original.flat])


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_go_through_a_dict_and_an_npz(dtype: Any, tmp_path: Path) -> None:
    p = make(dtype=dtype).p
    values = p.to_dict()
    assert tuple(values) == NAMES
    np.savez(tmp_path / "p.npz", **{name: np.asfortranarray(a) for name, a in values.items()})
    with np.load(tmp_path / "p.npz") as archive:
        loaded = lstm.Parameters.from_dict(archive)
    for restored in (loaded, lstm.Parameters.from_dict(dict(reversed(values.items())))):
        assert restored.sizes == p.sizes
        identical([restored.flat], [p.flat])


def test_from_dict_copies_and_takes_read_only_arrays() -> None:
    values = {name: array.copy() for name, array in make().p.to_dict().items()}
    for array in values.values():
        array.flags.writeable = False
    p = lstm.Parameters.from_dict(values)
    p.W_f[0, 0] += 1.0
    assert not overlap([p.flat], values.values())


@pytest.mark.parametrize(
    ("says", "change"),
    [
        ("U_g", lambda values: {k: a for k, a in values.items() if k != "U_g"}),
        ("W_q", lambda values: values | {"W_q": values["W_f"]}),
        ("b_i", lambda values: values | {"b_i": np.zeros(HIDDEN + 1)}),
        ("U_i", lambda values: values | {"U_i": np.zeros((HIDDEN, 1))}),
        ("int64", lambda values: {k: a.astype(np.int64) for k, a in values.items()}),
    ],
)
def test_from_dict_refuses_what_does_not_fit(says: str, change: Callable[[Any], Any]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError), match=rf"\b{says}\b"):
        lstm.Parameters.from_dict(change(make().p.to_dict()))


def test_zeros_like_is_zero_and_separate() -> None:
    p = make(dtype=np.float32).p
    zeros = p.zeros_like()
    assert (type(zeros), zeros.sizes, zeros.dtype) == (lstm.Parameters, p.sizes, p.dtype)
    assert not zeros.flat.any()
    assert not overlap([zeros.flat], [p.flat])


def test_initialisation_is_uniform_in_the_documented_bound() -> None:
    hidden = 100
    p = lstm.Parameters.initialize(features=30, hidden=hidden, dtype=np.float64, seed=3)
    for kind in "WUb":
        values = np.concatenate([getattr(p, f"{kind}_{gate}").ravel() for gate in "figo"])
        values *= np.sqrt(hidden)
        assert 0.9 < np.abs(values).max() <= 1
        assert abs(values.mean()) < 0.2
        assert values.std() == pytest.approx(3**-0.5, rel=0.1), "that of a uniform variable"


def test_initialisation_depends_on_the_seed_alone() -> None:
    def values(dtype: Any, seed: int) -> np.ndarray:
        return lstm.Parameters.initialize(features=3, hidden=5, dtype=dtype, seed=seed).flat

    before = pickle.dumps(np.random.get_state())
    wide = values(np.float64, 3)
    identical([values(np.float64, 3), values(np.float32, 3)], [wide, wide.astype(np.float32)])
    assert (values(np.float64, 4) != wide).all()
    assert pickle.dumps(np.random.get_state()) == before


@pytest.mark.parametrize(
    ("argument", "value"),
    [("features", -1), ("hidden", 2.5), ("hidden", "4"), ("dtype", np.float16), ("dtype", int)],
)
def test_initialize_refuses_what_no_kernel_can_run(argument: str, value: Any) -> None:
    with refused(argument):
        lstm.Parameters.initialize(**({"features": 2, "hidden": 4} | {argument: value}))


# --- errors ---------------------------------------------------------------------------------------

# A way to spoil a good float32 argument, and what the message must say of the expected and the got.
Wrong = list[tuple[Callable[[Any], Any], list[str]]]
DTYPE: Wrong = [
    (lambda a, d=d: a.astype(d), ["float32", rf"\b{np.dtype(d).name}\b"])
    for d in (np.float64, np.float16, np.int64, np.bool_, np.complex64, object)
]
X: Wrong = [
    (lambda x: x[:, 0], [re.escape("x[:, None]"), shape(5, 2)]),
    (lambda x: x[0, 0], [shape(2)]),
    (lambda x: x[None], [shape(1, 5, 3, 2)]),
    (lambda x: x[..., [0] * 7], [r"\b2\b", shape(5, 3, 7)]),
    (lambda x: x[..., :1], [r"\b2\b", shape(5, 3, 1)]),
    (lambda _: None, ["None"]),
]
X_T: Wrong = [
    (lambda x: x[0], [shape(2)]),
    (lambda x: x[None], [shape(1, 3, 2)]),
    (lambda x: x[:, [0] * 7], [r"\b2\b", shape(3, 7)]),
]
FIELD: Wrong = [
    (lambda h: h[:1], [shape(3, 4), shape(1, 4)]),  # these three would broadcast
    (lambda h: h[:, :1], [shape(3, 4), shape(3, 1)]),
    (lambda h: h[0], [shape(3, 4), shape(4)]),
    (lambda h: h.T.copy(), [shape(3, 4), shape(4, 3)]),
    (lambda h: h[None], [shape(3, 4), shape(1, 3, 4)]),
]
STATE: Wrong = [
    (lambda s, k=k, f=f: s._replace(**{k: f(getattr(s, k))}), [rf"\b{k}\b", *says])
    for k in "hc"
    for f, says in FIELD + DTYPE
]
STATE += [(lambda s: s.h, []), (lambda _: 0.0, []), (lambda _: "hc", []), (lambda s: (*s, s.h), [])]
D_OUTPUTS: Wrong = [
    (lambda d: d[-1], [shape(5, 3, 4), shape(3, 4)]),  # these four would broadcast
    (lambda d: d[:1], [shape(5, 3, 4), shape(1, 3, 4)]),
    (lambda d: d[:, :1], [shape(5, 3, 4), shape(5, 1, 4)]),
    (lambda d: d[..., :1], [shape(5, 3, 4), shape(5, 3, 1)]),
    (lambda d: d[:-1], [shape(5, 3, 4), shape(4, 3, 4)]),
]
P: Wrong = [
    (lambda _: None, ["Parameters", "None"]),
    (lambda p: p.flat, ["Parameters", "ndarray"]),
    (lambda p: p.to_dict(), ["Parameters", "dict"]),
]
ARGUMENTS = {"x": X + DTYPE, "x_t": X_T + DTYPE, "d_outputs": D_OUTPUTS + DTYPE, "p": P}
ARGUMENTS |= {"initial": STATE, "state": STATE, "d_final": STATE}
CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "forward": lambda a: lstm.forward(a["p"], a["x"], initial=a["initial"]),
    "infer": lambda a: lstm.infer(a["p"], a["x"], initial=a["initial"]),
    "step": lambda a: lstm.step(a["p"], a["x_t"], state=a["state"]),
    "backward": lambda a: lstm.backward(a["p"], a["r"], a["d_outputs"], d_final=a["d_final"]),
}
TAKES = {"forward": ["p", "x", "initial"], "infer": ["p", "x", "initial"]}
TAKES |= {"step": ["p", "x_t", "state"], "backward": ["p", "d_outputs", "d_final"]}


@pytest.mark.parametrize(
    ("function", "argument", "spoil", "says"),
    [(f, name, *wrong) for f, names in TAKES.items() for name in names for wrong in ARGUMENTS[name]],
)
def test_a_wrong_argument_is_told(function: str, argument: str, spoil: Any, says: Any) -> None:
    case = make(dtype=np.float32)
    arguments = vars(case) | {"r": case.forward()[2], "x_t": case.x[0], "state": case.initial}
    CALLS[function](arguments)
    arguments[argument] = spoil(arguments[argument])
    with refused(argument, *says):
        CALLS[function](arguments)


def test_wrong_residuals_and_workspaces_are_told() -> None:
    case = make()
    outputs, _, residuals = case.forward()
    for wrong in (None, outputs, case.forward()):
        with refused("residuals"):
            lstm.backward(case.p, wrong)
    for other in (make(hidden=6), make(features=3), make(dtype=np.float32)):
        with refused("(p|residuals)"):
            lstm.backward(other.p, residuals)
    for function in (lstm.forward, lstm.infer):
        with refused("workspace", "Workspace", "dict"):
            function(case.p, case.x, workspace={})


@pytest.mark.parametrize("odd", [lambda x: x.tolist(), lambda x: x.astype(x.dtype.newbyteorder())])
def test_lists_and_swapped_bytes_are_taken_rightly_or_told(odd: Callable[[Any], Any]) -> None:
    case = make()
    try:
        outputs, _ = lstm.infer(case.p, odd(case.x), initial=case.initial)
    except (TypeError, ValueError) as error:
        assert re.search(r"\bx\b", str(error))
    else:
        close([outputs], [case.forward()[0]])


# --- memory ---------------------------------------------------------------------------------------


def strided(a: np.ndarray) -> np.ndarray:
    return np.stack([a, np.full_like(a, np.nan)], axis=-1)[..., 0]


def misaligned(a: np.ndarray) -> np.ndarray:
    result = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    result[...] = a
    return result


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": np.copy,
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
    "transposed": lambda a: a.swapaxes(0, 1).copy().swapaxes(0, 1),
    "misaligned": misaligned,
}


@SCRATCH
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_works_and_no_input_is_written(layout: str, dtype: Any, scratch: Any) -> None:
    case = make(dtype=dtype)
    expected, values = case.run(), copies(case.inputs())
    x, h, c, d_outputs, d_h, d_c = laid = [LAYOUTS[layout](array) for array in values[1:]]
    for array in laid:
        array.flags.writeable = False
    odd = Case(case.p, x, lstm.State(h, c), d_outputs, lstm.State(d_h, d_c))
    close(odd.run(scratch()), expected)
    identical(odd.inputs(), values)


def arrays_in(record: Any, *, private: bool = True) -> list[np.ndarray]:
    """The arrays that residuals hold, whatever record they are, or those alone that they hand to whoever asks; not
    those of a workspace."""
    if isinstance(record, np.ndarray):
        return [record]
    if isinstance(record, Mapping):
        return [array for part in record.values() for array in arrays_in(part)]
    names = [name for name in dir(record) if not name.startswith("__" if private else "_")]
    parts = record if isinstance(record, tuple | list) else [getattr(record, n) for n in names]
    inside = [part for part in parts if isinstance(part, np.ndarray | tuple | list | dict)]
    return [array for part in inside for array in arrays_in(part)]


@SCRATCH
def test_results_share_no_memory_with_inputs_or_residuals(scratch: Callable[[], Any]) -> None:
    case = make(steps=1)  # one step: the length at which a view is most easily handed through
    workspace = scratch()
    outputs, final, residuals = case.forward(workspace)
    results = [outputs, *final, *case.backward(residuals)]
    assert not overlap(results, [*case.inputs(), *arrays_in(residuals)])
    assert not overlap(case.run(workspace), case.inputs())


@SCRATCH
def test_residuals_are_read_only(scratch: Callable[[], Any]) -> None:
    residuals = make().forward(scratch())[2]
    handed_out = arrays_in(residuals, private=False)
    assert not any(array.flags.writeable for array in handed_out)
    # All that is held is handed out, so that there is something to be read-only.
    assert handed_out
    assert all(overlap([array], handed_out) for array in arrays_in(residuals))


@SCRATCH
def test_gradients_depend_on_nothing_done_after_forward(scratch: Callable[[], Any]) -> None:
    case = make()
    outputs, final, residuals = case.forward(scratch())
    grads = case.backward(residuals)
    first = copies(grads)
    identical(case.backward(residuals), first)  # twice, with equal bits
    for array in (case.x, *case.initial, outputs, *final, *grads):
        array[...] = np.nan
    identical(case.backward(residuals), first)


# --- no hidden state ------------------------------------------------------------------------------


def test_one_workspace_serves_any_sequence_of_sizes_and_dtypes() -> None:
    workspace = lstm.Workspace()
    sizes: list[dict[str, Any]] = [{}, {"steps": 9, "hidden": 6}, {}, {"steps": 2, "batch": 1}, {}]
    sizes += [{"dtype": np.float32}, {"steps": 0}, {"batch": 0}, {"features": 4}, {}]
    for seed, size in enumerate(sizes):
        case = make(**size, seed=seed)
        identical(case.run(workspace), case.run())


def test_results_outlive_the_workspace() -> None:
    workspace, case = lstm.Workspace(), make()
    results = case.run(workspace)
    before = copies(results)
    make(seed=1).run(workspace)
    identical(results, before)


@pytest.mark.parametrize("sizes", [{}, {"steps": 9}, {"steps": 0}, {"dtype": np.float32}], ids=str)
def test_overwritten_residuals_are_refused(sizes: dict[str, Any]) -> None:
    workspace, case, later = lstm.Workspace(), make(), make(**sizes, seed=1)
    *_, residuals = case.forward(workspace)
    *_, fresh = later.forward(workspace)
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)workspace|overwritten"):
        case.backward(residuals)
    identical(later.backward(fresh), later.run()[3:7])


def test_residuals_hold_until_the_next_forward_on_their_own_workspace() -> None:
    case, other = make(), make(seed=1)
    expected = case.run()[3:7]
    *_, residuals = case.forward(workspace := lstm.Workspace())
    other.run()
    other.run(lstm.Workspace())
    identical(case.backward(residuals), expected)
    # `infer` may or may not count as a forward; what is never right are gradients of its values.
    lstm.infer(other.p, other.x, workspace=workspace)
    try:
        grads = case.backward(residuals)
    except (RuntimeError, ValueError):
        return
    identical(grads, expected)


@SCRATCH
def test_two_threads_do_not_disturb_each_other(scratch: Callable[[], Any]) -> None:
    cases = [make(steps=30, seed=seed) for seed in (0, 1)]
    cases[1].p = cases[0].p  # shared parameters and equal sizes: hidden scratch would collide
    expected = [case.run() for case in cases]
    ready = threading.Barrier(2)

    def work(case: Case) -> list[list[np.ndarray]]:
        workspace = scratch()
        ready.wait(timeout=10)
        return [case.run(workspace) for _ in range(25)]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads interleave even on one core
    try:
        with ThreadPoolExecutor(2) as pool:
            for results, want in zip(pool.map(work, cases), expected, strict=True):
                for result in results:
                    close(result, want)
    finally:
        sys.setswitchinterval(interval)


# --- the module as a text -------------------------------------------------------------------------

PATH = Path(lstm.__file__)
SOURCE = PATH.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)


def test_imports_nothing_but_numpy() -> None:
    imported: set[str] = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert "numpy" in imported
    annotations = {"__future__", "typing", "collections.abc"}  # names for types, no code that runs
    of_python = {"functools", "itertools", "math"}  # tools of the language, which do nothing by themselves
    assert {name for name in imported if name.split(".")[0] != "numpy"} <= annotations | of_python


def test_imports_silently_and_without_the_generator() -> None:
    others = "{'sympy', 'lstmgen', 'jinja2', 'cupy'}"
    code = f"import sys, generated.lstm_numpy; print(*({others} & set(sys.modules)))"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PATH.parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "pattern",
    [r"lstmgen v?\d+\.\d+", r"\blstm\b", r"\b[0-9a-f]{8,64}\b", r"lstmgen build\b.*\blstm\b"],
    ids=["version", "cell", "digest", "command"],
)
def test_header_tells_the_origin(pattern: str) -> None:
    assert re.search(pattern, ast.get_docstring(TREE) or "")


def test_text_holds_no_date_and_no_absolute_path() -> None:
    month = "(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sep|Oct|Nov|Dec)[a-z]*"
    date = rf"\b\d{{4}}-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b|\b{month}\.? \d|\d {month}\b"
    assert not re.search(date, SOURCE)
    assert not re.search(r"(?m)(?:^|[\s'\"(=:`])(?:/[\w.-]+){2,}|\b[A-Za-z]:\\", SOURCE)
    assert str(PATH.parents[1]) not in SOURCE


def test_public_names_are_listed_documented_and_typed() -> None:
    functions = {"forward", "backward", "infer", "step"}
    assert functions | {"Parameters", "State", "Workspace"} <= set(lstm.__all__)
    for name in lstm.__all__:
        value = getattr(lstm, name)
        assert not callable(value) or inspect.getdoc(value), f"{name} has no docstring"
    for name in functions:
        signature = inspect.signature(getattr(lstm, name))
        assert signature.return_annotation is not signature.empty
        assert all(p.annotation is not p.empty for p in signature.parameters.values())


def test_locals_of_the_emitter_begin_with_an_underscore() -> None:
    # Another cell may name a value `t` or `steps`: what no declaration named keeps out of the way.
    value = r"(?:d_|a_|tanh_)*(?:[figoxhc]|[WUb]_[figo])(?:_prev|_t)?"
    results = "outputs?|final|residuals|state|initial|parameters|inputs|gradients|grads"
    for function in TREE.body:
        if isinstance(function, ast.FunctionDef) and function.name in lstm.__all__:
            nodes = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            names = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
            names -= {arg.arg for arg in [*function.args.args, *function.args.kwonlyargs]}
            assert not {n for n in names if not re.fullmatch(rf"_\w*|{value}|{results}", n)}
