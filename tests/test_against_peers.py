"""Built-in cells against implementations that nobody here wrote, forward and backward.

A test skips where its peer is not installed. The heading of its part has the name that pip knows it by; packages of
cells for PyTorch ask for more than these tests need, and are best installed with `--no-deps`. The layers of PyTorch
itself have a file of their own.

A peer's parameters are made of ours inside what its framework differentiates. So all gradients come back under our
names, and all are compared: by every parameter, the inputs and the initial state, with cotangents on outputs and final
state. It is all in float64, but for two: Keras turns results into float32 here and there, and ONNX Runtime has these
operators in float32, forward only.
"""

# ruff: noqa: N806  (W, U, b, as in the equations)

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import lstmgen
from lstmgen.cells.lmu import legendre_memory

Array = Any  # NumPy's, JAX's, PyTorch's or TensorFlow's
Arrays = dict[str, Array]
Step = Callable[[Arrays, Arrays, Arrays], tuple[Arrays, Arrays]]
"""Parameters, inputs and states, by our names, to outputs and next states."""

STEPS, BATCH, FEATURES, HIDDEN = 6, 3, 4, 5
SIZES = {"features": FEATURES, "hidden": HIDDEN}
EXACT, SINGLE = 1e-10, 2e-6  # of an array's largest entry

# -- both sides of a comparison ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Where to compare: all that a run takes, and cotangents of all that it gives."""

    module: ModuleType
    parameters: Arrays
    inputs: Arrays
    initial: Arrays
    d_outputs: Arrays
    d_final: Arrays


@cache
def load(cell: str, options: tuple[tuple[str, Any], ...]) -> ModuleType:
    return lstmgen.load(cell, **dict(options))


def named(values: Any) -> Arrays:
    """Arrays by name; outputs are a bare array if there is but one."""
    return values._asdict() if hasattr(values, "_asdict") else {"outputs": values}


def draw(cell: str, options: Mapping[str, Any], sizes: Mapping[str, int] = SIZES) -> Case:
    """Random numbers of a size that drives gates, but not into saturation."""
    module = load(cell, tuple(options.items()))
    random = np.random.default_rng(0)
    p = module.Parameters.initialize(**{name: sizes[name] for name in module.Sizes._fields}, dtype=np.float64)
    p.flat[:] = random.uniform(-1, 1, p.flat.shape)
    width = sizes["features" if "features" in module.Sizes._fields else "hidden"]
    shapes = {name: (STEPS, BATCH, width) if name == "x" else (STEPS, BATCH) for name in module.Inputs._fields}
    inputs = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    outputs, final = map(named, module.infer(p, *inputs.values()))

    def like(arrays: Arrays) -> Arrays:
        return {name: random.standard_normal(array.shape) for name, array in arrays.items()}

    return Case(module, p.to_dict(), inputs, like(final), like(outputs), like(final))


def results(outputs: Arrays, final: Arrays, d_parameters: Arrays, d_inputs: Arrays, d_initial: Arrays) -> Arrays:
    groups = {"": outputs, "final ": final, "d ": {**d_parameters, **d_inputs}, "d initial ": d_initial}
    return {prefix + name: np.asarray(array) for prefix, group in groups.items() for name, array in group.items()}


def ours(case: Case) -> Arrays:
    module = case.module
    p = module.Parameters.from_dict(case.parameters)
    outputs, final, residuals = module.forward(p, *case.inputs.values(), initial=module.State(**case.initial))
    (d_outputs,) = case.d_outputs.values()
    grads = module.backward(p, residuals, d_outputs, d_final=module.State(**case.d_final))
    return results(
        *map(named, (outputs, final)), grads.parameters.to_dict(), *map(named, (grads.inputs, grads.initial))
    )


def assert_agree(case: Case, theirs: Arrays, tolerance: float = EXACT, left_out: tuple[str, ...] = ()) -> None:
    """Agreement of all arrays within `tolerance` of the largest entry of each, or of 0.01 if all are smaller.

    A peer must give everything, but for names that begin with one of `left_out`.
    """
    found = ours(case)
    assert theirs.keys() == {name for name in found if not name.startswith(left_out)}
    for name, expected in theirs.items():
        assert found[name].shape == expected.shape, name
        error = abs(found[name] - expected).max() / max(abs(expected).max(), 0.01)
        assert error <= tolerance, f"{name} is off by {error:.1e}"


def by_jax(case: Case, step: Step) -> Arrays:
    """What a JAX peer that takes one step at a time gives, with all gradients."""
    jax = pytest.importorskip("jax")

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        final, outputs = jax.lax.scan(lambda state, x: step(p, x, state)[::-1], state, inputs)
        return outputs, final

    with jax.enable_x64(True):
        values, pullback = jax.vjp(run, *jax.tree.map(jax.numpy.asarray, (case.parameters, case.inputs, case.initial)))
        return results(*values, *pullback(jax.tree.map(jax.numpy.asarray, (case.d_outputs, case.d_final))))


def by_torch(case: Case, run: Step) -> Arrays:
    """What a PyTorch peer gives for all steps, with all gradients."""
    torch = pytest.importorskip("torch")
    groups = [case.parameters, case.inputs, case.initial]
    leaves = [{name: torch.tensor(array, requires_grad=True) for name, array in group.items()} for group in groups]
    outputs, final = run(*leaves)
    assert not any(case.d_final[name].any() for name in case.d_final.keys() - final.keys())
    values = [*outputs.values(), *final.values()]
    cotangents = [*(case.d_outputs[name] for name in outputs), *(case.d_final[name] for name in final)]
    flat = [leaf for group in leaves for leaf in group.values()]
    gradients = iter(torch.autograd.grad(values, flat, list(map(torch.tensor, cotangents))))
    detached = ({name: array.detach() for name, array in group.items()} for group in (outputs, final))
    return results(*detached, *({name: next(gradients) for name in group} for group in groups))


def by_tensorflow(case: Case, run: Step) -> Arrays:
    """What a TensorFlow peer gives for all steps, with all gradients."""
    tf = pytest.importorskip("tensorflow")
    groups = [case.parameters, case.inputs, case.initial]
    leaves = [{name: tf.constant(array) for name, array in group.items()} for group in groups]
    with tf.GradientTape() as tape:
        tape.watch(leaves)
        outputs, final = run(*leaves)
        loss = sum(tf.reduce_sum(case.d_outputs[name] * array) for name, array in outputs.items())
        loss += sum(tf.reduce_sum(case.d_final[name] * array) for name, array in final.items())
    return results(outputs, final, *tape.gradient(loss, leaves))


def unrolled(step: Step, framework: str = "torch") -> Step:
    """All steps of a peer that takes one at a time."""
    stack = pytest.importorskip(framework).stack

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        outputs = []
        for t in range(STEPS):
            output, state = step(p, {name: array[t] for name, array in inputs.items()}, state)
            outputs.append(output["outputs"])
        return {"outputs": stack(outputs)}, state

    return run


@dataclass(frozen=True)
class Pair:
    """A cell of ours and a peer's: its name there, and the names of ours that make up each of its parameters.

    Where a peer writes a cell otherwise, `adapted` makes of our parameters what it has instead. `states` are ours, in
    the peer's order.
    """

    cell: str
    theirs: str
    made_of: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[str, ...] = ("h",)
    adapted: Callable[[Arrays], Arrays] = lambda p: {}

    def __str__(self) -> str:
        return "-".join([self.cell, *(f"{name}={value}" for name, value in self.options.items()), self.theirs])

    def case(self) -> Case:
        return draw(self.cell, self.options)

    def parts(self, p: Arrays) -> dict[str, list[Array]]:
        """Our parameters, by the peer's names for what is made of them."""
        p = p | self.adapted(p)
        return {name: [p[each] for each in parts.split()] for name, parts in self.made_of.items()}

    def packed(self, state: Arrays) -> Any:
        """States as the peer takes them: several in a tuple, one by itself."""
        first, *others = (state[name] for name in self.states)
        return (first, *others) if others else first

    def unpacked(self, state: Any) -> Arrays:
        return dict(zip(self.states, state if len(self.states) > 1 else [state], strict=True))


def pairs(*each: Pair) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", each, ids=str)


def stacked(gates: str, letters: str = "WUb") -> dict[str, str]:
    """Parameters of several gates, one below the other."""
    return {letter: " ".join(f"{letter}_{gate}" for gate in gates) for letter in letters}


def two_biases(p: Arrays) -> Arrays:
    """For peers with a second bias in every gate: ours has it in the candidate alone, where it makes a difference."""
    return {"zero": 0 * p["bu_n"]}


def opened(gate: str) -> Callable[[Arrays], Arrays]:
    """A gate that ours has not, wide open: logistic(1000) is 1."""
    return lambda p: {f"W_{gate}": 0 * p["W_g"], f"U_{gate}": 0 * p["U_g"], f"b_{gate}": 0 * p["b_g"] + 1000}


# -- flax --------------------------------------------------------------------------------------------------------------

FLAX_LSTM = {f"i{gate}": f"W_{gate}" for gate in "ifgo"} | {f"h{gate}": f"U_{gate} b_{gate}" for gate in "ifgo"}
FLAX_GRU = {"ir": "W_r b_r", "iz": "W_z b_z", "in": "W_n b_n", "hr": "U_r", "hz": "U_z", "hn": "U_n bu_n"}
FLAX_MGU = {"if": "W_f b_f", "in": "W_n b_n", "hf": "U_f", "hn": "U_n bu_n"}
FLAX_UGRNN = {"if": "W_g b_g", "in": "W_c b_c", "hf": "U_g", "hn": "U_c"}


@pairs(
    Pair("lstm", "OptimizedLSTMCell", FLAX_LSTM, states=("c", "h")),
    Pair("lstm", "LSTMCell", FLAX_LSTM, {"input_gate": False}, states=("c", "h"), adapted=opened("i")),
    Pair("lstm", "LSTMCell", FLAX_LSTM, {"forget_gate": False}, states=("c", "h"), adapted=opened("f")),
    Pair("lstm", "LSTMCell", FLAX_LSTM, {"output_gate": False}, states=("c", "h"), adapted=opened("o")),
    Pair("gru", "GRUCell", FLAX_GRU),
    Pair("mgu", "MGUCell", FLAX_MGU, {"reset": "after", "mirrored": True}),
    Pair("ugrnn", "MGUCell", FLAX_UGRNN, arguments={"reset_gate": False}),
    Pair("rnn", "SimpleCell", {"i": "W_h b_h", "h": "U_h"}),
)
def test_flax(pair: Pair) -> None:
    linen = pytest.importorskip("flax.linen")
    cell = getattr(linen, pair.theirs)(HIDDEN, param_dtype=np.float64, **pair.arguments)

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        tree = {
            name: {"kernel": kernel.T, "bias": bias[0]} if bias else {"kernel": kernel.T}
            for name, (kernel, *bias) in pair.parts(p).items()
        }
        carry, output = cell.apply({"params": tree}, pair.packed(state), inputs["x"])
        return {"outputs": output}, pair.unpacked(carry)

    assert_agree(pair.case(), by_jax(pair.case(), step))


# -- dm-haiku ----------------------------------------------------------------------------------------------------------


@pairs(
    # It adds 1 to the forget gate's bias at every step.
    Pair("lstm", "LSTM", stacked("igfo"), states=("h", "c"), adapted=lambda p: {"b_f": p["b_f"] - 1}),
    # Its update gate renews where ours keeps.
    Pair(
        "gru", "GRU", stacked("zrn"), {"reset": "before"}, adapted=lambda p: {k: -p[k] for k in ("W_z", "U_z", "b_z")}
    ),
    Pair("rnn", "VanillaRNN", stacked("h"), {"activation": "relu"}, {"double_bias": False}),
)
def test_haiku(pair: Pair) -> None:
    haiku, jnp = pytest.importorskip("haiku"), pytest.importorskip("jax.numpy")

    def apply(x: Array, state: Any) -> tuple[Array, Any]:
        return getattr(haiku, pair.theirs)(HIDDEN, **pair.arguments)(x, state)

    cell = haiku.without_apply_rng(haiku.transform(apply))

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        W, U, b = (jnp.concatenate(each).T for each in pair.parts(p).values())
        tree = {
            "LSTM": {"lstm/linear": {"w": jnp.concatenate([W, U]), "b": b}},
            "GRU": {"gru": {"w_i": W, "w_h": U, "b": b}},
            "VanillaRNN": {"vanilla_rnn/linear": {"w": W, "b": b}, "vanilla_rnn/linear_1": {"w": U}},
        }
        carry = pair.packed(state)
        carry = haiku.LSTMState(*carry) if pair.theirs == "LSTM" else carry
        output, carry = cell.apply(tree[pair.theirs], inputs["x"], carry)
        return {"outputs": output}, pair.unpacked(carry)

    assert_agree(pair.case(), by_jax(pair.case(), step))


# -- keras -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Keras on PyTorch. It has one back end in a process, and would write to the home directory."""
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip(f"Keras is on {keras.backend.backend()} already")
    return keras


@pairs(
    Pair("lstm", "LSTM", stacked("ifgo"), states=("h", "c")),
    Pair("gru", "GRU", stacked("zrn") | {"bu": "zero zero bu_n"}, adapted=two_biases),
    Pair("gru", "GRU", stacked("zrn"), {"reset": "before"}, {"reset_after": False}),
    Pair("rnn", "SimpleRNN", stacked("h")),
    Pair("rnn", "SimpleRNN", stacked("h"), {"activation": "relu"}, {"activation": "relu"}),
)
def test_keras(pair: Pair, keras: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    kind = getattr(keras.layers, pair.theirs)
    own = {} if pair.theirs == "SimpleRNN" else {"use_cudnn": False}  # or it would call layers of PyTorch
    layer = kind(HIDDEN, return_sequences=True, return_state=True, dtype="float64", **own, **pair.arguments)
    layer.build((BATCH, STEPS, FEATURES))

    def run(p: Arrays, inputs: Arrays, initial: Arrays) -> tuple[Arrays, Arrays]:
        W, U, *b = (torch.cat(each) for each in pair.parts(p).values())
        weights = [W.T, U.T, torch.stack(b) if len(b) > 1 else b[0]]
        rest = [each.value for each in layer.non_trainable_variables]
        state = [initial[name] for name in pair.states]
        x = inputs["x"].swapaxes(0, 1)
        (outputs, *state), _ = layer.stateless_call(weights, rest, x, initial_state=state)
        return {"outputs": outputs.swapaxes(0, 1)}, dict(zip(pair.states, state, strict=True))

    assert_agree(pair.case(), by_torch(pair.case(), run), SINGLE)


# -- onnx, onnxruntime -------------------------------------------------------------------------------------------------

PEEPHOLES = {"P": "p_i p_o p_f"}
AFFINE = {"activation_alpha": [1.0], "activation_beta": [0.0]}  # the identity


def onnx_lstm(made_of: Mapping[str, str], options: Mapping[str, Any], **more: Any) -> Pair:
    return Pair("lstm", "LSTM", stacked("iofg") | made_of, options, states=("h", "c"), **more)


def coupled(p: Arrays) -> Arrays:
    """ONNX has f = 1 - i where ours has i = 1 - f: its input gate is logistic(-a) with our forget gate's a."""
    return {f"{name[0]}_i": -p[name] for name in ("W_f", "U_f", "b_f", "p_f") if name in p}


@pairs(
    onnx_lstm({}, {}),
    onnx_lstm(PEEPHOLES, {"peephole": True}),
    onnx_lstm({}, {"coupled": True}, arguments={"input_forget": 1}, adapted=coupled),
    onnx_lstm(PEEPHOLES, {"coupled": True, "peephole": True}, arguments={"input_forget": 1}, adapted=coupled),
    onnx_lstm({}, {"input_activation": False}, arguments={"activations": ["Sigmoid", "Affine", "Tanh"], **AFFINE}),
    onnx_lstm({}, {"output_activation": False}, arguments={"activations": ["Sigmoid", "Tanh", "Affine"], **AFFINE}),
    Pair(
        "gru",
        "GRU",
        stacked("zrn") | {"bu": "zero zero bu_n"},
        arguments={"linear_before_reset": 1},
        adapted=two_biases,
    ),
    Pair("gru", "GRU", stacked("zrn"), {"reset": "before"}),
    Pair("rnn", "RNN", stacked("h")),
    Pair("rnn", "RNN", stacked("h"), {"activation": "relu"}, {"activations": ["Relu"]}),
)
def test_onnxruntime(pair: Pair) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    case = pair.case()
    # Arrays have an axis for the one direction: the first, but behind the steps in the outputs.
    values = {name: np.concatenate(each)[None] for name, each in pair.parts(case.parameters).items()}
    bias = values.pop("b")
    values["B"] = np.concatenate([bias, values.pop("bu", 0 * bias)], axis=1)
    values |= {"x": case.inputs["x"]} | {name: case.initial[name][None] for name in pair.states}
    single = {name: array.astype(np.float32) for name, array in values.items()}
    outputs = ["outputs", *(f"final {name}" for name in pair.states)]
    layer = onnx.helper.make_node(
        pair.theirs,
        ["x", "W", "U", "B", "", *pair.states, *(["P"] if "P" in single else [])],
        outputs,
        hidden_size=HIDDEN,
        **pair.arguments,
    )

    def value(name: str, shape: Any = None) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    taken, given = [value(name, array.shape) for name, array in single.items()], [value(name) for name in outputs]
    graph = onnx.helper.make_graph([layer], "layer", taken, given)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 14)], ir_version=8)
    run = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run
    first, *final = run(outputs, single)
    assert_agree(case, dict(zip(outputs, [first[:, 0], *(each[0] for each in final)], strict=True)), SINGLE, ("d ",))


# -- torchrecurrent ----------------------------------------------------------------------------------------------------

TORCHRECURRENT = {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}
FAST = {"W": "W", "U": "U"}
OSCILLATOR = {"W": "V_u", "b": "b_u"}
# Of sizes at which the terms that they scale count:
PUSHED = {"dt": 0.3, "gamma": 1.2, "epsilon": 0.7}
SWINGING = {"dt": 0.3, "alpha": 0.9}
DRIFTING = {"epsilon": 0.4, "gamma": 0.2}


@pairs(
    Pair(
        "lstm",
        "PeepholeLSTMCell",
        stacked("ifgo") | {"weight_ph": "p_i p_f p_o"},
        {"peephole": True},
        states=("h", "c"),
    ),
    Pair("mgu", "MGUCell", stacked("fn")),
    Pair("ugrnn", "UGRNNCell", stacked("cg")),
    # Its hidden state is its cell state, as ours is, but it takes both.
    Pair("janet", "JANETCell", stacked("fg"), {"beta": 0.5}, {"beta": 0.5}, states=("c", "c")),
    Pair(
        "fastgrnn",
        "FastGRNNCell",
        FAST | {"b": "b_z b_n", "zeta": "zeta", "nu": "nu"},
        arguments={"nonlinearity": "sigmoid"},
    ),
    Pair("fastgrnn", "FastRNNCell", FAST | {"b": "b_n", "alpha": "alpha", "beta": "beta"}, {"gated": False}),
    Pair("indrnn", "IndRNNCell", stacked("h", "Wb") | {"vector_u": "u_h"}, arguments={"nonlinearity": "relu"}),
    Pair("indrnn", "IndRNNCell", stacked("h", "Wb") | {"vector_u": "u_h"}, {"activation": "tanh"}),
    Pair("cornn", "coRNNCell", OSCILLATOR | {"U": "W_u", "weight_ch": "U_u"}, PUSHED, PUSHED, states=("y", "z")),
    Pair(
        "unicornn",
        "UnICORNNCell",
        OSCILLATOR | {"U": "w_u", "weight_ch": "c"},
        SWINGING,
        SWINGING,
        states=("y", "z"),
    ),
    Pair("antisymmetric_rnn", "AntisymmetricRNNCell", {"W": "V_n", "U": "W", "b": "b_n"}, DRIFTING, DRIFTING),
    Pair(
        "antisymmetric_rnn",
        "GatedAntisymmetricRNNCell",
        {"W": "V_z V_n", "U": "W", "b": "b_z b_n"},
        DRIFTING | {"gated": True},
        DRIFTING,
    ),
    Pair(
        "cfn",
        "CFNCell",
        {"W": "W_f W_i W_n", "U": "U_f U_i", "b": "b_f b_i zero"},
        adapted=lambda p: {"zero": 0 * p["b_f"]},
    ),
    Pair("ran", "RANCell", {"W": "W_n W_i W_f", "U": "U_i U_f", "b": "b_i b_f"}, states=("h", "c")),
    Pair("star", "STARCell", {"W": "W_z W_k", "U": "U_k", "b": "b_z b_k"}),
    Pair("minimal_rnn", "MinimalRNNCell", {"W": "W_z", "U": "U_u", "weight_mm": "V_u", "b": "b_z", "bias_hh": "b_u"}),
)
def test_torchrecurrent(pair: Pair) -> None:
    torch, torchrecurrent = pytest.importorskip("torch"), pytest.importorskip("torchrecurrent")
    cell = getattr(torchrecurrent, pair.theirs)(FEATURES, HIDDEN, dtype=torch.float64, **pair.arguments)

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        parts = {name: torch.cat(list(map(torch.atleast_1d, each))) for name, each in pair.parts(p).items()}
        parts = {TORCHRECURRENT.get(name, name): array for name, array in parts.items()}
        carry = torch.func.functional_call(cell, parts, (inputs["x"], pair.packed(state)))
        return {"outputs": carry[0] if len(pair.states) > 1 else carry}, pair.unpacked(carry)

    assert_agree(pair.case(), by_torch(pair.case(), unrolled(step)))


def torchrecurrent_cell(theirs: str, features: int = FEATURES, **arguments: Any) -> Callable[..., Any]:
    """A cell of torchrecurrent's as a function of its parameters, an input and its state."""
    torch, torchrecurrent = pytest.importorskip("torch"), pytest.importorskip("torchrecurrent")
    cell = getattr(torchrecurrent, theirs)(features, HIDDEN, dtype=torch.float64, **arguments)
    return lambda p, *given: torch.func.functional_call(cell, p, given)


def test_torchrecurrent_lstm_1997() -> None:
    """It has hyperbolic tangents where the paper has logistic functions between -2 and 2, and between -1 and 1.

    4 logistic(a) - 2 is 2 tanh(a / 2), 2 logistic(c) - 1 is tanh(c / 2): it is the paper's cell, if half of a is its a
    and half of c its c.
    """
    torch, cell = pytest.importorskip("torch"), torchrecurrent_cell("OriginalLSTMCell")

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        names = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
        parts = {name: torch.cat([p[f"{k}_i"], p[f"{k}_g"] / 2, p[f"{k}_o"]]) for name, k in names.items()}
        h, c = cell(parts, inputs["x"], (state["h"], state["c"] / 2))
        return {"outputs": h}, {"h": h, "c": 2 * c}

    case = draw("lstm_1997", {})
    assert_agree(case, by_torch(case, unrolled(step)))


def test_torchrecurrent_lem() -> None:
    """Its y is made with the z of the step before; the paper's with the new one, with which it is asked again here."""
    torch, cell = pytest.importorskip("torch"), torchrecurrent_cell("LEMCell", dt=0.7)

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        parts = {
            "weight_ih": torch.cat([p["W_dt_y"], p["W_dt_z"], p["W_z"], p["W_y"]]),
            "weight_hh": torch.cat([p["U_dt_y"], p["U_dt_z"], p["U_z"]]),
            "weight_ch": p["U_y"],
            "bias_ih": torch.cat([p["b_dt_y"], p["b_dt_z"], p["b_z"], p["b_y"]]),
        }
        _, z = cell(parts, inputs["x"], (state["y"], state["z"]))
        y, _ = cell(parts, inputs["x"], (state["y"], z))
        return {"outputs": y}, {"y": y, "z": z}

    case = draw("lem", {"dt": 0.7})
    assert_agree(case, by_torch(case, unrolled(step)))


def test_torchrecurrent_scrn() -> None:
    """It hands on tanh of its readout where the paper hands on its hidden state.

    With a readout of the hidden state alone it tells that; asked again, it tells the paper's readout.
    """
    torch, cell = pytest.importorskip("torch"), torchrecurrent_cell("SCRNCell", alpha=0.75)

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        def told(of_h: Array, of_s: Array) -> tuple[Array, Array]:
            parts = {
                "weight_ih": torch.cat([p["B"], p["A"]]),
                "weight_hh": torch.cat([p["R"], of_h]),
                "weight_ch": torch.cat([p["P"], of_s]),
            }
            squashed, s = cell(parts, inputs["x"], (state["h"], state["s"]))
            return torch.atanh(squashed), s

        h, s = told(torch.eye(HIDDEN, dtype=torch.float64), torch.zeros(HIDDEN, HIDDEN, dtype=torch.float64))
        y, _ = told(p["U"], p["V"])
        return {"outputs": y}, {"h": h, "s": s}

    case = draw("scrn", {"alpha": 0.75}, SIZES | {"context": HIDDEN, "readout": HIDDEN})
    assert_agree(case, by_torch(case, unrolled(step)))


def test_torchrecurrent_intersection_rnn() -> None:
    torch, cell = pytest.importorskip("torch"), torchrecurrent_cell("IntersectionRNNCell", HIDDEN)
    names = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        gates = ("y_in", "h_in", "g_y", "g_h")
        parts = {name: torch.cat([p[f"{letter}_{gate}"] for gate in gates]) for name, letter in names.items()}
        y, h = cell(parts, inputs["x"], state["h"])
        return {"outputs": y}, {"h": h}

    case = draw("intersection_rnn", {}, {"features": HIDDEN, "hidden": HIDDEN})
    assert_agree(case, by_torch(case, unrolled(step)))


# -- edgeml-pytorch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low_rank", [False, True])
def test_edgeml_fastgrnn(low_rank: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' own. Where it finds nvcc it imports its kernels for CUDA, which this form does not use."""
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "fastgrnn_cuda", ModuleType("fastgrnn_cuda"))
    ranks = {"wRank": 2, "uRank": 3} if low_rank else {}
    cell = pytest.importorskip("edgeml_pytorch.graph.rnn").FastGRNNCell(FEATURES, HIDDEN, **ranks).double()
    # Of the two factors its first is the one next to the vector.
    matrices = {"W1": "W2", "W2": "W1", "U1": "U2", "U2": "U1"} if low_rank else {"W": "W", "U": "U"}

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        rows = {"bias_gate": "b_z", "bias_update": "b_n", "zeta": "zeta", "nu": "nu"}
        parts = {theirs: torch.atleast_2d(p[name]) for theirs, name in (matrices | rows).items()}
        h = torch.func.functional_call(cell, parts, (inputs["x"], state["h"]))
        return {"outputs": h}, {"h": h}

    case = draw("fastgrnn", {"low_rank": low_rank}, SIZES | {"rank_w": 2, "rank_u": 3})
    assert_agree(case, by_torch(case, unrolled(step)))


# -- sru ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("highway", ["projected", "input"])
@pytest.mark.filterwarnings("ignore:Running SRU on CPU with grad_enabled=True")
def test_sru(highway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' own, in its form for automatic differentiation.

    Its other forms are compiled where the package is imported, which takes a compiler and a minute; nothing is, here.
    """
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.utils.cpp_extension")
    with monkeypatch.context() as importing:
        importing.setattr("torch.utils.cpp_extension.load", lambda *arguments, **more: None)
        importing.setattr("torch.jit.script", lambda function: function)
        sru = pytest.importorskip("sru")
    projected = highway == "projected"
    alpha = 1.0 if projected else 1.5
    layer = sru.SRUCell(FEATURES if projected else HIDDEN, HIDDEN).double()
    layer.scale_x[0] = alpha  # of an input that is not projected

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        # The columns of one unit's matrices lie side by side.
        matrices = torch.stack([p[f"W_{k}"].T for k in ("nfrx" if projected else "nfr")], dim=-1)
        parts = {
            "weight": matrices.flatten(1),
            "weight_c": torch.cat([p["v_f"], p["v_r"]]),
            "bias": torch.cat([p["b_f"], p["b_r"]]),
        }
        h, c = torch.func.functional_call(layer, parts, (inputs["x"], state["c"]))
        return {"outputs": h}, {"c": c}

    case = draw("sru", {"highway": highway, "alpha": alpha})
    assert_agree(case, by_torch(case, run))


# -- minGRU-pytorch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["mingru", "minlstm"])
def test_mingru_pytorch(cell: str) -> None:
    """A scan over logarithms, all steps at once: states are positive, and it has no biases but those of an input 1."""
    torch = pytest.importorskip("torch")
    theirs, gates, weight = {
        "mingru": ("minGRU", "nz", "to_hidden_and_gate.weight"),
        "minlstm": ("minLSTM", "nfi", "to_hidden_and_f_i_gate.weight"),
    }[cell]
    kind = getattr(pytest.importorskip(f"minGRU_pytorch.{theirs}"), theirs)
    layer = kind(FEATURES + 1, HIDDEN / (FEATURES + 1), proj_out=False).double()

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        x = torch.nn.functional.pad(inputs["x"], (0, 1), value=1.0).swapaxes(0, 1)
        parts = {weight: torch.cat([torch.cat([p[f"W_{k}"], p[f"b_{k}"][:, None]], dim=1) for k in gates])}
        # minLSTM takes the initial state for a candidate before its activation, which adds 1/2 to what is positive.
        before = state["h"] - 0.5 if cell == "minlstm" else state["h"]
        h = torch.func.functional_call(layer, parts, (x, before[:, None])).swapaxes(0, 1)
        return {"outputs": h}, {"h": h[-1]}

    case = draw(cell, {"candidate": "positive"})
    case = replace(case, initial={"h": 0.6 + abs(case.initial["h"])})
    assert_agree(case, by_torch(case, run))


# -- ncps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])
def test_ncps_cfc(mode: str) -> None:
    torch, ncps = pytest.importorskip("torch"), pytest.importorskip("ncps.torch")
    cell = ncps.CfCCell(FEATURES, HIDDEN, mode=mode, backbone_units=7).double()
    layers = {"ff1": "g"} if mode == "pure" else {"ff1": "g", "ff2": "k", "time_a": "rate", "time_b": "offset"}

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        parts = {"backbone.0.weight": torch.cat([p["W_b"], p["U_b"]], dim=1), "backbone.0.bias": p["b_b"]}
        for name, k in layers.items():
            parts |= {f"{name}.weight": p[f"W_{k}"], f"{name}.bias": p[f"b_{k}"]}
        if mode == "pure":
            parts |= {"A": p["A"][None], "w_tau": p["w"][None]}
        h, _ = torch.func.functional_call(cell, parts, (inputs["x"], state["h"], inputs["ts"][:, None]))
        return {"outputs": h}, {"h": h}

    case = draw("cfc", {"mode": mode}, SIZES | {"backbone": 7})
    case = replace(case, inputs={**case.inputs, "ts": abs(case.inputs["ts"])})
    assert_agree(case, by_torch(case, unrolled(step)))


# -- xlstm -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True], ids=["from a memory", "from zeros"])
@pytest.mark.parametrize("heads", [False, True])
def test_xlstm_slstm(heads: bool, fresh: bool) -> None:
    """The authors' own. From zeros it takes another way: there is no stabiliser to compare with yet."""
    torch, xlstm = pytest.importorskip("torch"), pytest.importorskip("xlstm.blocks.slstm.src.vanilla")
    pointwise = xlstm.slstm_pointwise_function_registry["slstm"]

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        W = torch.cat([p[f"W_{k}"].reshape(-1, FEATURES) for k in "ifzo"])
        R = torch.cat([p[f"R_{k}"] if heads else p[f"R_{k}"][None] for k in "ifzo"], dim=1)
        b = torch.cat([p[f"b_{k}"].flatten() for k in "ifzo"])
        states = torch.stack([state[name].flatten(1) for name in "hcnm"])
        every, last, _ = xlstm.slstm_forward(inputs["x"] @ W.T, states, R, b, pointwise)
        final = {name: each.reshape(state[name].shape) for name, each in zip("hcnm", last, strict=True)}
        return {"outputs": every[0, 1:]}, final

    case = draw("slstm", {"heads": heads}, SIZES | {"heads": 2, "unit": 3})
    # The normaliser of a memory is never negative.
    initial = {name: 0 * array if fresh else array for name, array in case.initial.items()}
    case = replace(case, initial=initial | {"n": abs(initial["n"])})
    assert_agree(case, by_torch(case, run))


@pytest.mark.parametrize("heads", [False, True])
def test_xlstm_mlstm(heads: bool) -> None:
    """The authors' own memory, between projections of ours.

    Its stabiliser may be negative, ours not: final memories are the same, but divided by another exponential. So they
    are left out, and have no cotangents; outputs and gradients do not depend on the stabiliser.
    """
    torch, xlstm = pytest.importorskip("torch"), pytest.importorskip("xlstm.blocks.mlstm.backends")

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        def affine(k: str) -> Array:
            W, b = (p[f"W_{k}"], p[f"b_{k}"]) if heads else (p[f"W_{k}"][None], p[f"b_{k}"][None])
            return torch.einsum("bf,h...f->bh...", inputs["x"], W) + b

        q, k, v = (affine(name)[:, :, None] for name in "qkv")
        i, f = (affine(name)[..., None, None] for name in "if")
        memory = (state["C"], state["n"], state["m"])
        h, memory = xlstm.recurrent_step_stabilized_simple(*memory, q, k, v, i, f, eps=0.0)
        h = torch.sigmoid(affine("o")) * h.squeeze(2)
        return {"outputs": h.flatten(1)}, dict(zip("Cnm", memory, strict=True))

    def run(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        C, n, m = (state[name] if heads else state[name][:, None] for name in "Cnm")
        memory = {"C": C.swapaxes(-1, -2), "n": n[..., None], "m": m[..., None, None]}
        return unrolled(step)(p, inputs, memory)[0], {}

    case = draw("mlstm", {"heads": heads}, SIZES | {"heads": 2, "key": 3, "value": 4})
    case = replace(case, d_final={name: 0 * array for name, array in case.d_final.items()})
    assert_agree(case, by_torch(case, run), left_out=("final ",))


# -- tensorflow-cpu<2.15, tensorflow-addons, keras-lmu -----------------------------------------------------------------


@pytest.fixture
def tensorflow() -> Iterator[ModuleType]:
    """TensorFlow in float64. Its extension modules take a warning, made an error, for a failure to load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf = pytest.importorskip("tensorflow")
        pytest.importorskip("tensorflow_addons")
        pytest.importorskip("keras_lmu")
    usual = tf.keras.backend.floatx()
    tf.keras.backend.set_floatx("float64")
    yield tf
    tf.keras.backend.set_floatx(usual)


@pytest.mark.filterwarnings("ignore:.*rnn_cell.LSTMCell")
def test_tensorflow_lstm_projected(tensorflow: ModuleType) -> None:
    """With peepholes, by the cell of TensorFlow 1."""
    tf = tensorflow
    cell = tf.compat.v1.nn.rnn_cell.LSTMCell(HIDDEN, use_peepholes=True, num_proj=3, forget_bias=0.0, dtype=tf.float64)
    cell.build((BATCH, FEATURES))

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        W, U, b = (tf.concat([p[f"{letter}_{gate}"] for gate in "igfo"], 0) for letter in "WUb")
        cell._kernel, cell._bias, cell._proj_kernel = tf.transpose(tf.concat([W, U], 1)), b, tf.transpose(p["P"])
        cell._w_i_diag, cell._w_f_diag, cell._w_o_diag = p["p_i"], p["p_f"], p["p_o"]
        output, (c, h) = cell(inputs["x"], (state["c"], state["h"]))
        return {"outputs": output}, {"h": h, "c": c}

    case = draw("lstm_projected", {"peephole": True}, SIZES | {"projection": 3})
    assert_agree(case, by_tensorflow(case, unrolled(step, "tensorflow")))


def test_tensorflow_addons_lstm_layernorm(tensorflow: ModuleType) -> None:
    """It normalises and carries as PyTorch's benchmark does, with biases of which ours is the sum."""
    tf, addons = tensorflow, pytest.importorskip("tensorflow_addons")
    cell = addons.rnn.LayerNormLSTMCell(HIDDEN, norm_epsilon=1e-3)
    cell.build((BATCH, FEATURES))

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        W, U, b, of_x, of_h = (
            tf.concat([p[f"{n}_{k}"] for k in "ifgo"], 0) for n in ("W", "U", "b", "gain_x", "gain_h")
        )
        cell.kernel, cell.recurrent_kernel, cell.bias = tf.transpose(W), tf.transpose(U), b
        cell.kernel_norm.gamma, cell.recurrent_norm.gamma = of_x, of_h
        cell.state_norm.gamma, cell.state_norm.beta = p["gain_c"], p["b_c"]
        output, (h, c) = cell(inputs["x"], (state["h"], state["c"]))
        return {"outputs": output}, {"h": h, "c": c}

    case = draw("lstm_layernorm", {"variant": "torch", "epsilon": 1e-3})
    assert_agree(case, by_tensorflow(case, unrolled(step, "tensorflow")))


def test_keras_lmu(tensorflow: ModuleType) -> None:
    """The authors' own."""
    tf, keras_lmu = tensorflow, pytest.importorskip("keras_lmu")
    hidden = tf.keras.layers.SimpleRNNCell(HIDDEN, use_bias=False)
    connections = {"hidden_to_memory": True, "memory_to_memory": True, "input_to_hidden": True}
    cell = keras_lmu.LMUCell(1, 6, 32.0, hidden, **connections)
    cell.build((BATCH, FEATURES))

    def step(p: Arrays, inputs: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        cell.kernel, cell.recurrent_kernel = tf.concat([p["e_x"], p["e_h"]], 0)[:, None], p["e_m"][:, None]
        hidden.kernel = tf.transpose(tf.concat([p["V_h"], p["W_h"]], 1))
        hidden.recurrent_kernel = tf.transpose(p["U_h"])
        output, (m, h) = cell(inputs["x"], (state["m"], state["h"]))
        return {"outputs": output}, {"h": h, "m": m}

    case = draw("lmu", {"order": 6, "theta": 32.0}, SIZES | {"memory": 6})
    assert_agree(case, by_tensorflow(case, unrolled(step, "tensorflow")))


# -- scipy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("order", "theta"), [(1, 4.0), (6, 32.0), (12, 100.0)])
def test_scipy_discretises_the_lmu(order: int, theta: float) -> None:
    """The matrices of the memory, from the paper's continuous system by a zero-order hold."""
    signal = pytest.importorskip("scipy.signal")
    i, j = np.mgrid[:order, :order]
    A = np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) * (2 * i + 1) / theta
    B = ((2 * i + 1) * (-1.0) ** i)[:, :1] / theta
    discrete = signal.cont2discrete((A, B, np.eye(order), np.zeros((order, 1))), dt=1.0, method="zoh")
    for found, expected in zip(legendre_memory(order, theta), discrete, strict=False):
        np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=0, atol=1e-12)
