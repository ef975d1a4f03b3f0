"""PyTorch's arrays read and written: its modules and the generated kernels compute the same, gradients included."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import lstmgen
from lstmgen.conventions import torch as convention
from lstmgen.conventions.torch import layers, read, write
from lstmgen.errors import UserError

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

STEPS, BATCH, FEATURES, HIDDEN, PROJECTION = 7, 3, 4, 6, 2


class Kind(NamedTuple):
    """A module of PyTorch, and the cell that computes it."""

    cell: str
    module: str
    options: dict[str, Any]  # of the cell
    arguments: dict[str, Any]  # of the module


KINDS = {
    "lstm": Kind("lstm", "LSTM", {}, {}),
    "gru": Kind("gru", "GRU", {"reset": "after"}, {}),
    "rnn tanh": Kind("rnn", "RNN", {"activation": "tanh"}, {"nonlinearity": "tanh"}),
    "rnn relu": Kind("rnn", "RNN", {"activation": "relu"}, {"nonlinearity": "relu"}),
    "lstm_projected": Kind("lstm_projected", "LSTM", {}, {"proj_size": PROJECTION}),
}
ONE_STEP = {"lstm": "LSTMCell", "gru": "GRUCell", "rnn tanh": "RNNCell", "rnn relu": "RNNCell"}

of_each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
of_each_cell = pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "lstm_projected"])


def kernels(kind: Kind) -> ModuleType:
    return lstmgen.load(kind.cell, **kind.options)


def parameters(cell: str, dtype: Any = np.float64) -> Any:
    """Parameters of the sizes above, no two entries alike."""
    sizes = {"features": FEATURES, "hidden": HIDDEN} | ({"projection": PROJECTION} if cell == "lstm_projected" else {})
    p = lstmgen.load(cell).Parameters.initialize(**sizes, dtype=dtype, seed=0)
    assert len(set(p.flat)) == p.flat.size
    return p


def state_dict(cell: str, gates: int) -> Arrays:
    """Arrays of one layer, as `nn.LSTM` and its kin hold them, no two entries alike."""
    recurrent = PROJECTION if cell == "lstm_projected" else HIDDEN
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih_l0": (gates * HIDDEN, FEATURES),
        "weight_hh_l0": (gates * HIDDEN, recurrent),
        "bias_ih_l0": (gates * HIDDEN,),
        "bias_hh_l0": (gates * HIDDEN,),
    }
    if cell == "lstm_projected":
        shapes["weight_hr_l0"] = (PROJECTION, HIDDEN)
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


GATES = {"lstm": 4, "gru": 3, "rnn": 1, "lstm_projected": 4}


# Without PyTorch: names, blocks and what is told.


def test_nothing_but_numpy_is_imported() -> None:
    code = (
        "import sys, lstmgen.conventions.torch; "
        "assert not {'torch', 'sympy', 'jinja2'} & {name.partition('.')[0] for name in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_example_of_the_documentation_runs() -> None:
    result = doctest.testmod(convention)
    assert result.attempted and not result.failed


@of_each_cell
def test_every_block_of_rows_goes_to_its_gate(cell: str) -> None:
    arrays = state_dict(cell, GATES[cell])
    found = read(cell, arrays)
    torch_gates = {"lstm": "ifgo", "lstm_projected": "ifgo", "gru": "rzn", "rnn": "h"}[cell]
    assert set(found) == set(parameters(cell).names)
    for index, gate in enumerate(torch_gates):
        rows = slice(index * HIDDEN, (index + 1) * HIDDEN)
        np.testing.assert_array_equal(found[f"W_{gate}"], arrays["weight_ih_l0"][rows])
        np.testing.assert_array_equal(found[f"U_{gate}"], arrays["weight_hh_l0"][rows])
        beside_input, beside_state = arrays["bias_ih_l0"][rows], arrays["bias_hh_l0"][rows]
        if (cell, gate) == ("gru", "n"):
            np.testing.assert_array_equal(found["b_n"], beside_input)
            np.testing.assert_array_equal(found["bu_n"], beside_state)
        else:
            np.testing.assert_array_equal(found[f"b_{gate}"], beside_input + beside_state)
    if cell == "lstm_projected":
        np.testing.assert_array_equal(found["P"], arrays["weight_hr_l0"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@of_each_cell
def test_what_is_written_is_read_again_bit_by_bit(cell: str, dtype: Any) -> None:
    p = parameters(cell, dtype)
    for given in (p, p.to_dict()):
        arrays = write(cell, given, layer=2, reverse=True, prefix="a.b.")
        assert layers(arrays, "a.b.") == ((2, True),)
        found = read(cell, arrays, layer=2, reverse=True, prefix="a.b.")
        assert all(array.dtype == dtype for array in [*arrays.values(), *found.values()])
        q = lstmgen.load(cell).Parameters.from_dict(found)
        np.testing.assert_array_equal(q.flat, p.flat)
        assert q.sizes == p.sizes


@of_each_cell
def test_one_bias_is_written_beside_the_input_and_zeros_beside_the_state(cell: str) -> None:
    arrays = write(cell, parameters(cell))
    hidden_side = arrays["bias_hh_l0"].reshape(-1, HIDDEN)
    apart = [2] if cell == "gru" else []
    for index, block in enumerate(hidden_side):
        assert block.all() if index in apart else not block.any()
    assert arrays["bias_ih_l0"].all()


@of_each_cell
def test_arrays_that_come_back_share_nothing_with_those_given(cell: str) -> None:
    p = parameters(cell)
    arrays = write(cell, p)
    found = read(cell, arrays)
    assert not any(np.shares_memory(array, p.flat) for array in arrays.values())
    assert not any(np.shares_memory(a, b) for a in found.values() for b in arrays.values())
    separate = list(found.values())
    assert not any(np.shares_memory(a, b) for n, a in enumerate(separate) for b in separate[:n])
    assert all(array.flags.writeable and array.flags.c_contiguous for array in [*found.values(), *arrays.values()])


def test_without_biases_they_are_zeros_of_the_same_dtype() -> None:
    arrays = {name: array.astype(np.float32) for name, array in state_dict("gru", 3).items() if "bias" not in name}
    found = read("gru", arrays)
    for name in ("b_r", "b_z", "b_n", "bu_n"):
        assert found[name].shape == (HIDDEN,) and found[name].dtype == np.float32 and not found[name].any()
    lstmgen.load("gru").Parameters.from_dict(found)


def test_layers_are_listed_in_the_order_of_their_states() -> None:
    names = [
        f"rnn.weight_ih_l{layer}{side}" for layer in (10, 9, 2, 1, 0) for side in ("_reverse", "") if layer != 2 or side
    ]
    both = [(layer, reverse) for layer in (0, 1, 9, 10) for reverse in (False, True)]
    assert layers(names, "rnn.") == (*both[:4], (2, True), *both[4:])
    assert layers(names) == ()
    assert layers(["rnn.weight_ih", "weight_ih", "weight_ih_lx", "weight_ih_l0_raw"]) == ((0, False),)


def test_an_npz_is_a_mapping_too(tmp_path: Any) -> None:
    arrays = state_dict("lstm", 4)
    np.savez(tmp_path / "lstm.npz", **arrays)
    with np.load(tmp_path / "lstm.npz") as stored:
        found = read("lstm", stored)
    np.testing.assert_array_equal(found["W_i"], arrays["weight_ih_l0"][:HIDDEN])


def without(arrays: Mapping[str, Array], *names: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}


def prefixed(prefix: str, arrays: Mapping[str, Array]) -> Arrays:
    return {prefix + name: array for name, array in arrays.items()}


def told(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.hint
    return caught.value


LSTM, GRU, RNN = state_dict("lstm", 4), state_dict("gru", 3), state_dict("rnn", 1)
PROJECTED = state_dict("lstm_projected", 4)
TWO = LSTM | {name.replace("l0", "l1"): array for name, array in LSTM.items()}
BOTH = LSTM | prefixed("", {f"{name}_reverse": array for name, array in LSTM.items()})

WRONG_READS: dict[str, tuple[Callable[[], object], str, list[str]]] = {
    "a cell of no module": (lambda: read("lstm_1997", LSTM), "LG501", ["'lstm_1997'", "did you mean 'lstm", "nn.GRU"]),
    "a misspelt cell": (lambda: read("gur", GRU), "LG501", ["did you mean 'gru'?", "lstm_projected (nn.LSTM with"]),
    "another layer": (
        lambda: read("lstm", TWO, layer=2),
        "LG502",
        ["'weight_hh_l2'", "'weight_ih_l2'", "did you mean layer=1? layers: 0, 1"],
    ),
    "another direction": (
        lambda: read("lstm", BOTH, layer=1, reverse=True),
        "LG502",
        ["'weight_ih_l1_reverse'", "did you mean layer=0, reverse=True? layers: 0, 0 reverse"],
    ),
    "no prefix": (
        lambda: read("gru", prefixed("rnn.", GRU)),
        "LG502",
        ["'weight_ih_l0'", "did you mean prefix='rnn.'?"],
    ),
    "no prefix, of two": (
        lambda: read("gru", prefixed("rnn.", GRU) | prefixed("decoder.", GRU)),
        "LG502",
        ["'weight_ih_l0'", "hint: prefixes of recurrent layers: 'rnn.', 'decoder.'"],
    ),
    "a prefix without its dot": (
        lambda: read("gru", prefixed("rnn.", GRU) | prefixed("decoder.", GRU), prefix="rnn"),
        "LG502",
        ["'rnnweight_ih_l0'", "did you mean prefix='rnn.'?", "'rnn.', 'decoder.'"],
    ),
    "no recurrent layer": (lambda: read("rnn", {"weight": RNN["bias_ih_l0"]}), "LG502", ["pass the state_dict()"]),
    "no mapping": (lambda: read("rnn", 3), "LG502", ["found int", "state_dict()"]),  # type: ignore[arg-type]
    "one bias of two": (lambda: read("gru", without(GRU, "bias_hh_l0")), "LG502", ["'bias_hh_l0'", "belong together"]),
    "a projection too many": (
        lambda: read("lstm", PROJECTED),
        "LG502",
        ["'weight_hr_l0'", "nn.LSTM with proj_size", "read it as the cell 'lstm_projected'"],
    ),
    "a projection missing": (
        lambda: read("lstm_projected", LSTM),
        "LG502",
        ["'weight_hr_l0'", "nn.LSTM with proj_size has it", "is the cell 'lstm'"],
    ),
    "an LSTM for a GRU": (
        lambda: read("gru", LSTM),
        "LG503",
        ["weight_hh_l0: expected shape (3 * hidden, hidden) = (18, 6), found (24, 6)", "4 blocks", "nn.LSTM", "'lstm'"],
    ),
    "an LSTM for an RNN": (
        lambda: read("rnn", LSTM),
        "LG503",
        ["weight_hh_l0: expected shape (hidden, hidden) = (6, 6), found (24, 6)", "read it as the cell 'lstm'"],
    ),
    "a GRU for an LSTM": (
        lambda: read("lstm", GRU),
        "LG503",
        ["weight_hh_l0: expected shape (4 * hidden, hidden) = (24, 6), found (18, 6)", "nn.GRU", "as the cell 'gru'"],
    ),
    "an RNN for an LSTM": (lambda: read("lstm", RNN), "LG503", ["one block of rows", "as the cell 'rnn'"]),
    "a projected LSTM that lost its projection": (
        lambda: read("lstm", without(PROJECTED, "weight_hr_l0")),
        "LG503",
        ["weight_hh_l0: expected shape (4 * hidden, hidden) = (8, 2), found (24, 2)", "nn.LSTM holds weight_hh"],
    ),
    "weights of another size": (
        lambda: read("gru", GRU | {"weight_ih_l0": np.zeros((21, 4))}),
        "LG503",
        ["weight_ih_l0: expected shape (3 * hidden, features) = (18, 4), found (21, 4)"],
    ),
    "weights of another rank": (
        lambda: read("gru", GRU | {"weight_hh_l0": np.zeros(18)}),
        "LG503",
        ["weight_hh_l0: expected shape (3 * hidden, hidden), found (18,)"],
    ),
    "a bias of another size": (
        lambda: read("lstm", LSTM | {"bias_hh_l0": np.zeros(6)}),
        "LG503",
        ["bias_hh_l0: expected shape (4 * hidden,) = (24,), found (6,)"],
    ),
    "a projection of another size": (
        lambda: read("lstm_projected", PROJECTED | {"weight_hr_l0": np.zeros((3, 6))}),
        "LG503",
        ["weight_hh_l0: expected shape (4 * hidden, projection) = (24, 3), found (24, 2)"],
    ),
    "whole numbers": (
        lambda: read("rnn", RNN | {"weight_hh_l0": np.zeros((6, 6), np.int8)}),
        "LG503",
        ["weight_hh_l0: expected floating-point numbers, found int8"],
    ),
    "ragged lists": (
        lambda: read("rnn", RNN | {"weight_hh_l0": [[1.0], [1.0, 2.0]]}),
        "LG503",
        ["weight_hh_l0: cannot be taken as a NumPy array"],
    ),
}


@pytest.mark.parametrize(("call", "code", "words"), WRONG_READS.values(), ids=WRONG_READS)
def test_what_cannot_be_read_is_told(call: Callable[[], object], code: str, words: list[str]) -> None:
    error = told(call)
    assert error.code == code
    for word in words:
        assert word in str(error), str(error)


def test_what_cannot_be_written_is_told() -> None:
    peephole = lstmgen.load("lstm", peephole=True).Parameters.initialize(features=FEATURES, hidden=HIDDEN)
    before = lstmgen.load("gru", reset="before").Parameters.initialize(features=FEATURES, hidden=HIDDEN)
    p = parameters("lstm")
    wrong: list[tuple[Callable[[], object], str, list[str]]] = [
        (lambda: write("indrnn", p), "LG501", ["'indrnn'"]),
        (lambda: write("lstm", peephole), "LG502", ["without a place: p_f, p_i, p_o", "without options"]),
        (lambda: write("gru", before), "LG502", ["missing: bu_n"]),
        (lambda: write("gru", p), "LG502", ["missing: W_r", "without a place: W_f"]),
        (lambda: write("lstm", 3), "LG502", ["found int"]),  # type: ignore[arg-type]
        (lambda: write("lstm", p, layer=-1), "LG502", ["no layer -1"]),
        (lambda: write("lstm", p, layer=1, one_step=True), "LG502", ["nn.LSTMCell has one layer"]),
        (lambda: write("lstm", p, reverse=True, one_step=True), "LG502", ["one direction"]),
        (
            lambda: write("lstm_projected", parameters("lstm_projected"), one_step=True),
            "LG502",
            ["no one-step class", "leave out one_step"],
        ),
        (
            lambda: write("lstm", p.to_dict() | {"W_o": np.zeros((HIDDEN, FEATURES + 1))}),
            "LG503",
            ["W_o: expected shape (hidden, features) = (6, 4), found (6, 5)"],
        ),
    ]
    for call, code, words in wrong:
        error = told(call)
        assert error.code == code
        for word in words:
            assert word in str(error), str(error)


# With PyTorch: its modules compute what the kernels compute.


def torch_module(kind: Kind, **arguments: Any) -> Any:
    """A module in float64 with parameters that are neither small nor alike."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return getattr(torch.nn, kind.module)(FEATURES, HIDDEN, dtype=torch.float64, **kind.arguments, **arguments)


def arrays_of(module: Any) -> Arrays:
    """The `state_dict`, its tensors as they are."""
    return dict(module.state_dict())


class Case(NamedTuple):
    """What goes into a module of several layers, and the cotangents of what comes out, one state after the other."""

    x: Array  # (steps, batch, features)
    initial: list[Array]  # (layers * directions, batch, size)
    d_outputs: Array  # (steps, batch, directions * size)
    d_final: list[Array]


def random_case(kind: Kind, depth: int, directions: int) -> Case:
    rng = np.random.default_rng(1)
    size = PROJECTION if kind.cell == "lstm_projected" else HIDDEN
    states = [size, HIDDEN] if kind.module == "LSTM" else [size]
    initial, d_final = ([rng.standard_normal((depth * directions, BATCH, each)) for each in states] for _ in "12")
    x = rng.standard_normal((STEPS, BATCH, FEATURES))
    return Case(x, initial, rng.standard_normal((STEPS, BATCH, directions * size)), d_final)


def by_torch(module: Any, case: Case) -> tuple[Arrays, Arrays]:
    """Outputs and final states; gradients by all arrays, by the input and by the initial states."""
    import torch

    x = torch.from_numpy(case.x).requires_grad_()
    initial = [torch.from_numpy(array).requires_grad_() for array in case.initial]
    outputs, final = module(x, tuple(initial) if len(initial) > 1 else initial[0])
    results = [outputs, *(final if isinstance(final, tuple) else (final,))]
    names, leaves = zip(*module.named_parameters(), strict=True)
    cotangents = [torch.from_numpy(array) for array in (case.d_outputs, *case.d_final)]
    gradients = torch.autograd.grad(results, [*leaves, x, *initial], cotangents)
    forward = {str(n): value.detach().numpy() for n, value in enumerate(results)}
    backward = dict(zip([*names, "x", *map(str, range(len(initial)))], gradients, strict=True))
    return forward, {name: gradient.numpy() for name, gradient in backward.items()}


def by_kernels(kind: Kind, arrays: Mapping[str, Array], case: Case) -> tuple[Arrays, Arrays]:
    """The same by generated kernels, one call for each layer and direction."""
    cell = kernels(kind)
    present = layers(arrays)
    directions = 1 + max(reverse for _, reverse in present)

    # Each layer is its calls, one a direction; what they return stands in the order of PyTorch's states.
    x, final, saved = case.x, [], []
    for place, (layer, reverse) in enumerate(present):
        p = cell.Parameters.from_dict(read(kind.cell, arrays, layer=layer, reverse=reverse))
        initial = cell.State(*(state[place] for state in case.initial))
        outputs, end, residuals = cell.forward(p, turned(x, reverse), initial=initial)
        final.append(end)
        saved.append((p, residuals, turned(outputs, reverse)))
        if len(saved) % directions == 0:
            x = np.concatenate([outputs for _, _, outputs in saved[-directions:]], axis=-1)
    forward = {"0": x} | {str(n): np.stack(state) for n, state in enumerate(zip(*final, strict=True), start=1)}

    backward: Arrays = {}
    initial_gradients: list[Any] = []
    d_x = case.d_outputs
    for place in reversed(range(len(present))):
        layer, reverse = present[place]
        p, residuals, _ = saved[place]
        if (place + 1) % directions == 0:
            d_outputs, d_x = np.split(d_x, directions, axis=-1), np.zeros(())
        d_final = cell.State(*(state[place] for state in case.d_final))
        grads = cell.backward(p, residuals, turned(d_outputs[int(reverse)], reverse), d_final=d_final)
        d_x = d_x + turned(grads.inputs.x, reverse)
        initial_gradients.insert(0, grads.initial)
        backward |= write(kind.cell, grads.parameters, layer=layer, reverse=reverse)
    backward |= {str(n): np.stack(state) for n, state in enumerate(zip(*initial_gradients, strict=True))}
    return forward, backward | {"x": d_x}


def turned(array: Array, reverse: bool) -> Array:
    return array[::-1] if reverse else array


def with_both_biases(kind: Kind, gradients: Mapping[str, Array]) -> Arrays:
    """Of biases that are added, PyTorch's two gradients are one and the same."""
    complete = dict(gradients)
    for name in gradients:
        if name.startswith("bias_hh"):
            beside_input = gradients[name.replace("hh", "ih")]
            apart = slice(2 * HIDDEN, None) if kind.cell == "gru" else slice(0)
            complete[name] = beside_input.copy()
            complete[name][apart] = gradients[name][apart]
    return complete


def assert_agree(actual: Arrays, expected: Arrays, tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, rtol=0.0, atol=tolerance, err_msg=name, strict=True)


STACKS = {
    "one layer": {},
    "both directions": {"bidirectional": True},
    "two layers": {"num_layers": 2},
    "two layers, both directions": {"num_layers": 2, "bidirectional": True},
    "without biases": {"num_layers": 2, "bias": False},
}


@pytest.mark.parametrize("arguments", STACKS.values(), ids=STACKS)
@of_each_kind
def test_kernels_compute_what_the_module_computes(kind: Kind, arguments: dict[str, Any]) -> None:
    module = torch_module(kind, **arguments)
    depth, directions = arguments.get("num_layers", 1), 1 + arguments.get("bidirectional", False)
    arrays = arrays_of(module)
    assert len(layers(arrays)) == depth * directions
    case = random_case(kind, depth, directions)
    forward, backward = by_kernels(kind, arrays, case)
    expected_forward, expected_backward = by_torch(module, case)
    if not arguments.get("bias", True):
        backward = {name: array for name, array in backward.items() if "bias" not in name}
    assert_agree(forward, expected_forward, 1e-12)
    assert_agree(with_both_biases(kind, backward), expected_backward, 1e-10)


@of_each_kind
def test_a_module_filled_from_parameters_computes_the_same(kind: Kind) -> None:
    """Every layer and direction is written, loaded with nothing left over, and computes what it did before."""
    torch = pytest.importorskip("torch")
    source = torch_module(kind, num_layers=2, bidirectional=True)
    arrays = arrays_of(source)
    written: Arrays = {}
    for layer, reverse in layers(arrays):
        p = kernels(kind).Parameters.from_dict(read(kind.cell, arrays, layer=layer, reverse=reverse))
        written |= write(kind.cell, p, layer=layer, reverse=reverse)
    assert list(written) == list(arrays)  # in PyTorch's order too
    target = torch_module(kind, num_layers=2, bidirectional=True)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.fill_(torch.nan)
    target.load_state_dict({name: torch.from_numpy(array) for name, array in written.items()})
    x = torch.from_numpy(random_case(kind, 2, 2).x)
    with torch.no_grad():
        np.testing.assert_allclose(target(x)[0].numpy(), source(x)[0].numpy(), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", ONE_STEP)
def test_one_step_classes(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind = KINDS[name]
    torch.manual_seed(0)
    module = getattr(torch.nn, ONE_STEP[name])(FEATURES, HIDDEN, dtype=torch.float64, **kind.arguments)
    arrays = arrays_of(module)
    assert layers(arrays) == ((0, False),)
    cell = kernels(kind)
    p = cell.Parameters.from_dict(read(kind.cell, arrays))
    rng = np.random.default_rng(2)
    x = rng.standard_normal((BATCH, FEATURES))
    state = [rng.standard_normal((BATCH, HIDDEN)) for _ in cell.State._fields]

    leaves = [torch.from_numpy(array).requires_grad_() for array in (x, *state)]
    found = module(leaves[0], tuple(leaves[1:]) if len(state) > 1 else leaves[1])
    found = found if isinstance(found, tuple) else (found,)
    _, following = cell.step(p, x, state=cell.State(*state))
    for actual, expected in zip(following, found, strict=True):
        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=0.0, atol=1e-12)

    cotangents = [rng.standard_normal((BATCH, HIDDEN)) for _ in state]
    names, weights = zip(*module.named_parameters(), strict=True)
    expected = torch.autograd.grad(found, [*weights, *leaves], [torch.from_numpy(each) for each in cotangents])
    _, _, residuals = cell.forward(p, x[None], initial=cell.State(*state))
    grads = cell.backward(p, residuals, d_final=cell.State(*cotangents))
    actual = with_both_biases(kind, write(kind.cell, grads.parameters, one_step=True))
    actual |= {"x": grads.inputs.x[0]} | grads.initial._asdict()
    keys = [*names, "x", *cell.State._fields]
    assert_agree(actual, {key: each.numpy() for key, each in zip(keys, expected, strict=True)}, 1e-10)

    module.load_state_dict({k: torch.from_numpy(v) for k, v in write(kind.cell, p, one_step=True).items()})
    again = cell.Parameters.from_dict(read(kind.cell, arrays_of(module)))
    np.testing.assert_array_equal(again.flat, p.flat)


def test_a_module_inside_a_model_is_read_by_its_prefix() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(9, 4), "rnn": torch.nn.GRU(4, 6), "again": torch.nn.LSTMCell(4, 6)}
    )
    arrays = dict(model.state_dict())
    found = read("gru", arrays, prefix="rnn.")
    np.testing.assert_array_equal(found["W_z"], model["rnn"].weight_ih_l0[6:12].detach().numpy())
    np.testing.assert_array_equal(
        read("lstm", arrays, prefix="again.")["U_g"], model["again"].weight_hh[12:18].detach().numpy()
    )
    assert all(array.dtype == np.float32 for array in found.values())
    written = write("gru", found, prefix="rnn.")
    model.load_state_dict(arrays | {name: torch.from_numpy(array) for name, array in written.items()})
    np.testing.assert_array_equal(read("gru", dict(model.state_dict()), prefix="rnn.")["bu_n"], found["bu_n"])


def test_what_is_read_is_a_copy_of_the_tensors() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(4, 6, proj_size=2)
    found = read("lstm_projected", module.state_dict())
    for array in found.values():
        array[:] = 7.0
    assert not any((tensor == 7.0).any() for tensor in module.state_dict().values())


def test_tensors_that_are_no_arrays_are_told() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.RNN(4, 6)
    for arrays in (dict(module.named_parameters()), module.bfloat16().state_dict()):
        error = told(lambda arrays=arrays: read("rnn", arrays))  # type: ignore[misc]
        assert error.code == "LG503"
        assert "cannot be taken as a NumPy array" in str(error) and "model.cpu().state_dict()" in str(error)


def test_both_biases_receive_the_gradient_of_the_one() -> None:
    """What `write` says about training: after a step of SGD, the sum of both biases has moved twice as far."""
    torch = pytest.importorskip("torch")
    kind = KINDS["lstm"]
    module = torch_module(kind)
    p = lstmgen.load("lstm").Parameters.from_dict(read("lstm", arrays_of(module)))
    case = random_case(kind, 1, 1)
    _, backward = by_kernels(kind, arrays_of(module), case)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    outputs, final = module(torch.from_numpy(case.x), tuple(torch.from_numpy(each) for each in case.initial))
    torch.autograd.backward([outputs, *final], [torch.from_numpy(each) for each in (case.d_outputs, *case.d_final)])
    optimizer.step()
    moved = read("lstm", arrays_of(module))
    single = read("lstm", backward)  # zeros stand in bias_hh, so this is the gradient of the one bias
    np.testing.assert_allclose(moved["b_f"] - p.b_f, -0.2 * single["b_f"], rtol=1e-10)
    np.testing.assert_allclose(moved["W_f"] - p.W_f, -0.1 * single["W_f"], rtol=1e-10)
