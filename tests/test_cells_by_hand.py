"""The published equations of every built-in cell, by hand in plain NumPy, against what generated code computes.

lstmgen proves that code computes what a cell declares; this file says that cells declare what their papers say. Each of
the functions below is one step for one sequence: it takes parameters, inputs and states as vectors under the names that
the cell gives them, and returns the output and the new states. Its keywords are the cell's options, defaults included.
"""

# ruff: noqa: N803, N806  names are those of the equations, capital letters and all

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy import abs, concatenate, exp, log, maximum, mean, outer, sqrt, stack, tanh, where

import lstmgen
from lstmgen import plugins
from lstmgen.finding import find_cell


def sigmoid(v: Any) -> Any:
    return 1 / (1 + exp(-v))


def relu(v: Any) -> Any:
    return maximum(v, 0)


def a(p: Any, k: str, x: Any, h: Any) -> Any:
    """W_k x + U_k h + b_k, what most gates are made of."""
    return getattr(p, f"W_{k}") @ x + getattr(p, f"U_{k}") @ h + getattr(p, f"b_{k}")


# -- Simple recurrences ------------------------------------------------------------------------------------------------


def rnn(p, x, h, *, activation="tanh"):
    """Elman, Finding structure in time, 1990; with relu Le, Jaitly & Hinton, 2015."""
    h = {"tanh": tanh, "relu": relu}[activation](a(p, "h", x, h))
    return h, (h,)


def indrnn(p, x, h, *, activation="relu"):
    """Li et al., Independently recurrent neural network, CVPR 2018."""
    h = {"tanh": tanh, "relu": relu}[activation](p.W_h @ x + p.u_h * h + p.b_h)
    return h, (h,)


def scrn(p, x, s, h, *, alpha=0.95):
    """Mikolov et al., Learning longer memory in recurrent neural networks, 2014. The softmax is left to the loss."""
    s = (1 - alpha) * p.B @ x + alpha * s
    h = sigmoid(p.P @ s + p.A @ x + p.R @ h)
    return p.U @ h + p.V @ s, (s, h)


def antisymmetric_rnn(p, x, h, *, gated=False, epsilon=0.1, gamma=0.01):
    """Chang et al., AntisymmetricRNN: a dynamical system view on recurrent neural networks, ICLR 2019."""
    M = p.W - p.W.T - gamma * np.eye(len(h))
    z = sigmoid(M @ h + p.V_z @ x + p.b_z) if gated else 1
    h = h + epsilon * z * tanh(M @ h + p.V_n @ x + p.b_n)
    return h, (h,)


# -- Oscillators and time constants ------------------------------------------------------------------------------------


def cornn(p, x, y, z, *, dt=0.042, gamma=2.7, epsilon=4.7):
    """Rusch & Mishra, Coupled oscillatory recurrent neural network, ICLR 2021; damping explicit as in their code."""
    z = z + dt * (tanh(p.W_u @ y + p.U_u @ z + p.V_u @ x + p.b_u) - gamma * y - epsilon * z)
    y = y + dt * z
    return y, (y, z)


def unicornn(p, x, y, z, *, dt=0.03, alpha=0.9):
    """Rusch & Mishra, UnICORNN: a recurrent model for learning very long time dependencies, ICML 2021."""
    step = dt * sigmoid(p.c)
    z = z - step * (tanh(p.w_u * y + p.V_u @ x + p.b_u) + alpha * y)
    y = y + step * z
    return y, (y, z)


def lem(p, x, y, z, *, dt=1.0):
    """Rusch et al., Long expressive memory for sequence modeling, ICLR 2022."""
    dt_z, dt_y = dt * sigmoid(a(p, "dt_z", x, y)), dt * sigmoid(a(p, "dt_y", x, y))
    z = (1 - dt_z) * z + dt_z * tanh(a(p, "z", x, y))
    y = (1 - dt_y) * y + dt_y * tanh(a(p, "y", x, z))
    return y, (y, z)


def cfc(p, x, ts, h, *, mode="default"):
    """Hasani et al., Closed-form continuous-time neural networks, 2022, with the activations of the authors' code."""
    v = 1.7159 * tanh(0.666 * a(p, "b", x, h))
    g = p.W_g @ v + p.b_g
    if mode == "pure":
        h = p.A - p.A * exp(-ts * (abs(p.w) + abs(g))) * g
    else:
        s = sigmoid((p.W_rate @ v + p.b_rate) * ts + p.W_offset @ v + p.b_offset)
        g, k = tanh(g), tanh(p.W_k @ v + p.b_k)
        h = g + s * k if mode == "no_gate" else (1 - s) * g + s * k
    return h, (h,)


def lmu(p, x, h, m, *, order=6, theta=32.0):
    """Voelker, Kajić & Eliasmith, Legendre memory units, NeurIPS 2019; zero-order hold."""
    i, j = np.ogrid[:order, :order]
    A, B = (2 * i + 1) * where(i < j, -1.0, (-1.0) ** (i - j + 1)), (2 * i + 1) * (-1.0) ** i
    system = np.block([[A, B], [np.zeros((1, order + 1))]]) / theta
    held = term = np.eye(order + 1)  # the exponential of the system: A and B of its discretisation, side by side
    for k in range(1, 100):
        term = term @ system / k
        held = held + term
    u = p.e_x @ x + p.e_h @ h + p.e_m @ m
    m = held[:-1, :-1] @ m + held[:-1, -1] * u
    h = tanh(p.W_h @ x + p.U_h @ h + p.V_h @ m)
    return h, (h, m)


# -- One or two gates --------------------------------------------------------------------------------------------------


def _candidate(p, reset, gate, x, h):
    """The candidate where a gate resets the state before, or what it contributes after, the recurrent product."""
    if reset == "before":
        return tanh(a(p, "n", x, gate * h))
    return tanh(p.W_n @ x + p.b_n + gate * (p.U_n @ h + p.bu_n))


def gru(p, x, h, *, reset="after"):
    """Cho et al., Learning phrase representations, EMNLP 2014: "after" is arXiv version 1, "before" the last one."""
    r, z = sigmoid(a(p, "r", x, h)), sigmoid(a(p, "z", x, h))
    h = z * h + (1 - z) * _candidate(p, reset, r, x, h)
    return h, (h,)


def mgu(p, x, h, *, reset="before", mirrored=False):
    """Zhou et al., Minimal gated unit for recurrent neural networks, 2016; mirrored and "after" is Flax's."""
    f = sigmoid(a(p, "f", x, h))
    n = _candidate(p, reset, f, x, h)
    h = f * h + (1 - f) * n if mirrored else (1 - f) * h + f * n
    return h, (h,)


def ugrnn(p, x, h):
    """Collins, Sohl-Dickstein & Sussillo, Capacity and trainability in recurrent neural networks, ICLR 2017."""
    g, c = sigmoid(a(p, "g", x, h)), tanh(a(p, "c", x, h))
    h = g * h + (1 - g) * c
    return h, (h,)


def intersection_rnn(p, x, h):
    """The +RNN of the same paper."""
    y_in, h_in = relu(a(p, "y_in", x, h)), tanh(a(p, "h_in", x, h))
    g_y, g_h = sigmoid(a(p, "g_y", x, h)), sigmoid(a(p, "g_h", x, h))
    y = g_y * x + (1 - g_y) * y_in
    h = g_h * h + (1 - g_h) * h_in
    return y, (h,)


def janet(p, x, c, *, beta=1.0):
    """Van der Westhuizen & Lasenby, The unreasonable effectiveness of the forget gate, 2018."""
    s = a(p, "f", x, c)
    c = sigmoid(s) * c + (1 - sigmoid(s - beta)) * tanh(a(p, "g", x, c))
    return c, (c,)


def ligru(p, x, h):
    """Ravanelli et al., Light gated recurrent units for speech recognition, 2018, without batch normalisation."""
    z = sigmoid(a(p, "z", x, h))
    h = z * h + (1 - z) * relu(a(p, "n", x, h))
    return h, (h,)


def minimal_rnn(p, x, h):
    """Chen, MinimalRNN: toward more interpretable and trainable recurrent neural networks, 2017."""
    z = tanh(p.W_z @ x + p.b_z)
    u = sigmoid(p.U_u @ h + p.V_u @ z + p.b_u)
    h = u * h + (1 - u) * z
    return h, (h,)


def star(p, x, h):
    """Turkoglu et al., Gating revisited: deep multi-layer RNNs that can be trained, 2022."""
    z, k = tanh(p.W_z @ x + p.b_z), sigmoid(a(p, "k", x, h))
    h = tanh((1 - k) * h + k * z)
    return h, (h,)


def cfn(p, x, h):
    """Laurent & von Brecht, A recurrent neural network without chaos, ICLR 2017: f is their theta, i their eta."""
    f, i = sigmoid(a(p, "f", x, h)), sigmoid(a(p, "i", x, h))
    h = f * tanh(h) + i * tanh(p.W_n @ x)
    return h, (h,)


def ran(p, x, h, c, *, activation="tanh"):
    """Lee, Levy & Zettlemoyer, Recurrent additive networks, 2017."""
    i, f = sigmoid(a(p, "i", x, h)), sigmoid(a(p, "f", x, h))
    c = i * (p.W_n @ x) + f * c
    h = tanh(c) if activation == "tanh" else c
    return h, (h, c)


def fastgrnn(p, x, h, *, gated=True, low_rank=False):
    """Kusupati et al., FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated RNN, NeurIPS 2018."""
    W, U = (p.W1 @ p.W2, p.U1 @ p.U2) if low_rank else (p.W, p.U)
    n = tanh(W @ x + U @ h + p.b_n)
    if gated:
        z = sigmoid(W @ x + U @ h + p.b_z)
        h = (sigmoid(p.zeta) * (1 - z) + sigmoid(p.nu)) * n + z * h
    else:
        h = sigmoid(p.alpha) * n + sigmoid(p.beta) * h
    return h, (h,)


# -- Gates that see the input alone ------------------------------------------------------------------------------------


def sru(p, x, c, *, highway="projected", alpha=1.0):
    """Lei et al., Simple recurrent units for highly parallelizable recurrence, EMNLP 2018."""
    f = sigmoid(p.W_f @ x + p.v_f * c + p.b_f)
    r = sigmoid(p.W_r @ x + p.v_r * c + p.b_r)
    c = f * c + (1 - f) * (p.W_n @ x)
    h = r * c + (1 - r) * alpha * (x if highway == "input" else p.W_x @ x)
    return h, (c,)


def qrnn(p, x, v, c, *, pooling="fo"):
    """Bradbury et al., Quasi-recurrent neural networks, ICLR 2017: a filter of width 2, with biases."""
    z, f, i, o = (getattr(p, f"W_{k}", 0 * p.W_z) @ x + getattr(p, f"V_{k}", 0 * p.V_z) @ v for k in "zfio")
    z, f = tanh(z + p.b_z), sigmoid(f + p.b_f)
    c = f * c + (sigmoid(i + p.b_i) if "i" in pooling else 1 - f) * z
    return (sigmoid(o + p.b_o) * c if "o" in pooling else c), (x, c)


def _positive(v: Any) -> Any:
    """g of Feng et al., appendix B."""
    return where(v >= 0, v + 0.5, sigmoid(v))


def mingru(p, x, h, *, candidate="linear"):
    """Feng et al., Were RNNs all we needed?, 2024."""
    z, n = sigmoid(p.W_z @ x + p.b_z), p.W_n @ x + p.b_n
    h = (1 - z) * h + z * (_positive(n) if candidate == "positive" else n)
    return h, (h,)


def minlstm(p, x, h, *, candidate="linear"):
    """The same paper."""
    f, i, n = sigmoid(p.W_f @ x + p.b_f), sigmoid(p.W_i @ x + p.b_i), p.W_n @ x + p.b_n
    h = f / (f + i) * h + i / (f + i) * (_positive(n) if candidate == "positive" else n)
    return h, (h,)


# -- LSTM --------------------------------------------------------------------------------------------------------------


def lstm_1997(p, x, h, c):
    """Hochreiter & Schmidhuber, Long short-term memory, 1997: no forget gate, and squashing functions of their own."""
    c = c + sigmoid(a(p, "i", x, h)) * (4 * sigmoid(a(p, "g", x, h)) - 2)
    h = sigmoid(a(p, "o", x, h)) * (2 * sigmoid(c) - 1)
    return h, (h, c)


def lstm(p, x, h, c, *gates_before, peephole=False, coupled=False, input_gate=True, forget_gate=True, output_gate=True,
         input_activation=True, output_activation=True, full_gate_recurrence=False):  # fmt: skip
    """Gers, Schmidhuber & Cummins, Learning to forget, 2000; variants: Greff et al., LSTM: a search space odyssey."""

    def gate(k, seen):
        total = a(p, k, x, h)
        if peephole:
            total = total + getattr(p, f"p_{k}") * seen
        for source, before in zip("fio", gates_before, strict=full_gate_recurrence):
            total = total + getattr(p, f"V{source}_{k}") @ before
        return sigmoid(total)

    f = gate("f", c) if forget_gate else 1
    i = (1 - f if coupled else gate("i", c)) if input_gate else 1
    g = a(p, "g", x, h)
    c = f * c + i * (tanh(g) if input_activation else g)
    o = gate("o", c) if output_gate else 1
    h = o * (tanh(c) if output_activation else c)
    return h, (h, c, f, i, o) if full_gate_recurrence else (h, c)


def _gates(p: Any, x: Any, h: Any) -> Any:
    """The gates f, i, o and the candidate of an LSTM."""
    return (*(sigmoid(a(p, k, x, h)) for k in "fio"), tanh(a(p, "g", x, h)))


def lstm_projected(p, x, h, c, *, peephole=False):
    """Sak, Senior & Beaufays, Long short-term memory based recurrent neural network architectures, 2014."""
    see = {k: getattr(p, f"p_{k}") if peephole else 0 for k in "fio"}
    f, i = (sigmoid(a(p, k, x, h) + see[k] * c) for k in "fi")
    c = f * c + i * tanh(a(p, "g", x, h))
    o = sigmoid(a(p, "o", x, h) + see["o"] * c)
    h = p.P @ (o * tanh(c))
    return h, (h, c)


def lstm_dropout(p, x, mask, h, c):
    """Semeniuta, Severyn & Barth, Recurrent dropout without memory loss, COLING 2016."""
    f, i, o, g = _gates(p, x, h)
    c = f * c + i * (mask * g)
    h = o * tanh(c)
    return h, (h, c)


def lstm_zoneout(p, x, keep_h, keep_c, h, c):
    """Krueger et al., Zoneout, ICLR 2017: the output sees the cell state as it would be without zoneout."""
    f, i, o, g = _gates(p, x, h)
    new = f * c + i * g
    c = keep_c * c + (1 - keep_c) * new
    h = keep_h * h + (1 - keep_h) * o * tanh(new)
    return h, (h, c)


def mogrifier_lstm(p, x, h, c, *, rounds=5, low_rank=False):
    """Melis, Kočiský & Blunsom, Mogrifier LSTM, ICLR 2020."""

    def matrix(name):
        return getattr(p, f"{name}_left") @ getattr(p, f"{name}_right") if low_rank else getattr(p, name)

    for i in range(1, rounds + 1):
        if i % 2:
            x = 2 * sigmoid(matrix(f"Q_{i}") @ h) * x
        else:
            h = 2 * sigmoid(matrix(f"R_{i}") @ x) * h
    f, i, o, g = _gates(p, x, h)
    c = f * c + i * g
    h = o * tanh(c)
    return h, (h, c)


def lstm_layernorm(p, x, h, c, *, variant="ba2016", epsilon=1e-5):
    """Ba, Kiros & Hinton, Layer normalization, 2016, supplement. Here b stands for the sum of b and of two betas.

    "torch" is LayerNormLSTMCell of PyTorch's benchmarks/fastrnns, "per_gate" LayerNormBasicLSTMCell of tf.contrib.
    """

    def norm(v, gain):
        return gain * (v - mean(v)) / sqrt(mean((v - mean(v)) ** 2) + epsilon)

    W, U, b = (concatenate([getattr(p, f"{name}_{k}") for k in "fiog"]) for name in "WUb")
    if variant == "per_gate":
        parts = zip("fiog", (W @ x + U @ h).reshape(4, -1), strict=True)
        sums = concatenate([norm(part, getattr(p, f"gain_{k}")) for k, part in parts]) + b
    else:
        gain_x, gain_h = (concatenate([getattr(p, f"gain_{of}_{k}") for k in "fiog"]) for of in "xh")
        sums = norm(W @ x, gain_x) + norm(U @ h, gain_h) + b
    f, i, o, g = sums.reshape(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    normal = norm(c, p.gain_c) + p.b_c
    h = sigmoid(o) * tanh(normal)
    return h, (h, c if variant == "ba2016" else normal)


# -- xLSTM: Beck et al., xLSTM: extended long short-term memory, NeurIPS 2024 ------------------------------------------
# Without the stabiliser m: the states of the paper are those of the generated module times exp(m).


def slstm(p, x, h, c, n, *, heads=False, forget="sigmoid"):
    def total(k):
        R = getattr(p, f"R_{k}")
        return getattr(p, f"W_{k}") @ x + (np.einsum("kij,kj->ki", R, h) if heads else R @ h) + getattr(p, f"b_{k}")

    i, f, z, o = (
        exp(total("i")),
        {"sigmoid": sigmoid, "exp": exp}[forget](total("f")),
        tanh(total("z")),
        sigmoid(total("o")),
    )
    c = f * c + i * z
    n = f * n + i
    h = o * c / n
    return h.ravel(), (h, c, n)


def mlstm(p, x, C, n, *, heads=False, forget="sigmoid"):
    if heads:
        each = (SimpleNamespace(**{name: value[k] for name, value in p.to_dict().items()}) for k in range(len(n)))
        outputs, states = zip(*(mlstm(head, x, C[k], n[k], forget=forget) for k, head in enumerate(each)), strict=True)
        return concatenate(outputs), tuple(map(stack, zip(*states, strict=True)))
    q, k, v, o = (getattr(p, f"W_{name}") @ x + getattr(p, f"b_{name}") for name in "qkvo")
    k = k / sqrt(len(k))  # as in the authors' code; in the paper b_k is left as it is
    i, f = exp(p.W_i @ x + p.b_i), {"sigmoid": sigmoid, "exp": exp}[forget](p.W_f @ x + p.b_f)
    C = f * C + i * outer(v, k)
    n = f * n + i * k
    return sigmoid(o) * (C @ q) / maximum(abs(n @ q), 1), (C, n)


# -- The comparison ----------------------------------------------------------------------------------------------------

NAMES = tuple(each.name for each in plugins.available("cells") if each.target.startswith("lstmgen.cells."))
BY_HAND = {
    step.__name__: step
    for step in (
        *(rnn, indrnn, scrn, antisymmetric_rnn, cornn, unicornn, lem, cfc, lmu),
        *(
            gru,
            mgu,
            ugrnn,
            intersection_rnn,
            janet,
            ligru,
            minimal_rnn,
            star,
            cfn,
            ran,
            fastgrnn,
            sru,
            qrnn,
            mingru,
            minlstm,
        ),
        *(lstm_1997, lstm, lstm_projected, lstm_dropout, lstm_zoneout, mogrifier_lstm, lstm_layernorm, slstm, mlstm),
    )
}


def _others(option: Any) -> tuple[Any, ...]:
    """Every value of an option but the default; another number, of one that takes any."""
    default = option.default
    another = not default if isinstance(default, bool) else default - 1 if isinstance(default, int) else default
    return tuple(v for v in option.choices if v != default) or (another if another != default else 1.25 * default,)


TOGETHER: list[tuple[str, dict[str, Any]]] = [
    *(("lstm", {"peephole": True, k: not v}) for k, v in lstm.__kwdefaults__.items() if k != "peephole"),
    ("antisymmetric_rnn", {"gated": True, "gamma": 0.5}),
    ("fastgrnn", {"gated": False, "low_rank": True}),
    ("mgu", {"reset": "after", "mirrored": True}),
    ("mogrifier_lstm", {"rounds": 0}),
    ("sru", {"highway": "input", "alpha": 3**0.5}),
]
"""Values that belong together; the first are the variants of Greff et al., who start from the LSTM with peepholes."""
CASES = {
    " ".join([name, *(f"{key}={value}" for key, value in options.items())]): (name, options)
    for name, options in [
        *((name, {}) for name in NAMES),
        *((name, {each.name: v}) for name in NAMES for each in find_cell(name).options for v in _others(each)),
        *TOGETHER,
    ]
}


def _example(name: str, options: dict[str, Any]) -> tuple[Any, Any, list[Any], list[Any]]:
    """A module, parameters, inputs of six steps for three sequences, and two states to start from: zeros, and any."""
    module = lstmgen.load(name, **options)
    random = np.random.default_rng(3)
    sizes = {size: 3 + k for k, size in enumerate(module.Sizes._fields)}
    p = module.Parameters.initialize(**sizes, dtype=np.float64)
    p.flat[:] = 0.7 * random.standard_normal(p.flat.shape)
    inputs = [random.standard_normal((6, 3, next(iter(sizes.values()))))]
    for field in module.Inputs._fields[1:]:  # times and masks
        inputs.append(random.uniform(0, 1, (6, 3) if field == "ts" else (6, 3, p.hidden)))
    final = module.infer(p, *inputs)[1]
    starts = [module.State(*(scale * random.standard_normal(each.shape) for each in final)) for scale in (0, 1)]
    if name == "slstm":
        np.abs(starts[1].n, out=starts[1].n)  # a sum of weights, and divided by
    return module, p, inputs, starts


def _as_published(name: str, state: Any) -> tuple[Any, ...]:
    if name == "slstm":
        return state.h, state.c * exp(state.m), state.n * exp(state.m)
    if name == "mlstm":
        return state.C * exp(state.m)[..., None, None], state.n * exp(state.m)[..., None]
    return tuple(state)


def _same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("label", CASES)
def test_generated_code_computes_what_was_published(label: str) -> None:
    name, options = CASES[label]
    module, p, inputs, starts = _example(name, options)
    for start in starts:
        outputs, final, _ = module.forward(p, *inputs, initial=start)
        again, last = module.infer(p, *inputs, initial=start)
        for row in range(3):
            state = tuple(each[row] for each in _as_published(name, start))
            for t, now in enumerate(zip(*(each[:, row] for each in inputs), strict=True)):
                output, state = BY_HAND[name](p, *now, *state, **options)
                _same(outputs[t, row], output)
                _same(again[t, row], output)
            for *found, expected in zip(*(_as_published(name, end) for end in (final, last)), state, strict=True):
                _same([each[row] for each in found], [expected, expected])


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("name", ["slstm", "mlstm"])
def test_the_stabiliser_of_xlstm(name: str, heads: bool) -> None:
    """The paper's m = max(log f + m, log i), save that sLSTM starts with log i, and that mLSTM's is 0 at least."""
    module, p, (x,), starts = _example(name, {"heads": heads})
    for state in starts:
        for now in x:
            log_i, f = (np.tensordot(now, getattr(p, f"W_{k}"), (1, -1)) + getattr(p, f"b_{k}") for k in "if")
            if name == "slstm":
                log_i, f = (a + np.einsum("...ij,b...j->b...i", R, state.h) for a, R in ((log_i, p.R_i), (f, p.R_f)))
            m = maximum(log(sigmoid(f)) + state.m, log_i)
            m = where(state.n == 0, log_i, m) if name == "slstm" else maximum(m, 0)
            state = module.step(p, now, state=state)[1]
            _same(state.m, m)


def test_every_built_in_cell_is_here_with_its_options_and_their_defaults() -> None:
    assert set(BY_HAND) == set(NAMES)
    for name, step in BY_HAND.items():
        assert {option.name: option.default for option in find_cell(name).options} == (step.__kwdefaults__ or {}), name
