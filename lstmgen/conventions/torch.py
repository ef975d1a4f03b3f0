"""PyTorch's recurrent modules: their ``state_dict`` as the parameters of a cell, and back.

``nn.LSTM``, ``nn.GRU``, ``nn.RNN`` and their one-step classes (``nn.LSTMCell`` and so on) compute what the cells
``lstm``, ``gru`` (``reset="after"``), ``rnn`` and, with ``proj_size``, ``lstm_projected`` compute, without peepholes or
other such options. For every layer and direction they hold (PyTorch's documentation of these classes, section
Variables):

- ``weight_ih_l{k}`` (gates * hidden, features) and ``weight_hh_l{k}`` (gates * hidden, hidden): one block of rows a
  gate;
- ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (gates * hidden,), which are added, or none at all (``bias=False``);
- ``weight_hr_l{k}`` (projection, hidden) where there is a ``proj_size``; ``weight_hh_l{k}`` is then
  (gates * hidden, projection).

``_reverse`` at the end means the direction from the last step to the first: run the kernels on ``x[::-1]`` and turn the
outputs round. In layer 1 and above, features are the outputs of the layer below, both directions side by side. The
one-step classes leave out ``_l{k}``. Arrays are NumPy's, here and there; PyTorch is not imported.

Which activation an ``nn.RNN`` has is not in its arrays: load ``rnn`` with ``activation=`` the module's
``nonlinearity``.

>>> import lstmgen
>>> from lstmgen.conventions import torch as convention
>>> lstm = lstmgen.load("lstm")
>>> p = lstm.Parameters.initialize(features=3, hidden=5, seed=0)
>>> state_dict = convention.write("lstm", p)                            # or, of a module: nn.LSTM(3, 5).state_dict()
>>> {name: array.shape for name, array in state_dict.items()}
{'weight_ih_l0': (20, 3), 'weight_hh_l0': (20, 5), 'bias_ih_l0': (20,), 'bias_hh_l0': (20,)}
>>> q = lstm.Parameters.from_dict(convention.read("lstm", state_dict))
>>> bool((q.flat == p.flat).all())
True
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from lstmgen.errors import UserError

__all__ = ["layers", "read", "write"]

Array = np.ndarray[Any, np.dtype[Any]]

UNKNOWN_CELL, WRONG_NAMES, WRONG_SHAPE = "LG501", "LG502", "LG503"


class SupportsToDict(Protocol):
    """A generated module's ``Parameters``."""

    def to_dict(self) -> Mapping[str, Array]:
        """The arrays by name."""


@dataclass(frozen=True)
class Layout:
    """Where PyTorch keeps the parameters of one cell. ``gates`` are in the order of its blocks of rows.

    Gate ``k`` has the parameters ``W_k``, ``U_k`` and ``b_k``, the sum of both biases. Of the gates ``apart`` they
    cannot be added: ``b_k`` is that beside the input, ``bu_k`` that beside the state. ``projection`` is the name of the
    recurrent projection, empty where there is none.
    """

    cell: str
    module: str
    gates: tuple[str, ...]
    one_step: str = ""
    apart: tuple[str, ...] = ()
    projection: str = ""

    @property
    def parameters(self) -> dict[str, tuple[str, ...]]:
        """The dimensions of each of the cell's parameters."""
        dims: dict[str, tuple[str, ...]] = {}
        dims |= {f"W_{gate}": ("hidden", "features") for gate in self.gates}
        dims |= {f"U_{gate}": ("hidden", self.recurrent) for gate in self.gates}
        dims |= {f"b_{gate}": ("hidden",) for gate in self.gates}
        dims |= {f"bu_{gate}": ("hidden",) for gate in self.apart}
        return dims | ({self.projection: ("projection", "hidden")} if self.projection else {})

    @property
    def arrays(self) -> dict[str, tuple[str, ...]]:
        """The dimensions of each of PyTorch's arrays, in an order that meets a size before a multiple of it."""
        dims: dict[str, tuple[str, ...]] = {"weight_hr": ("projection", "hidden")} if self.projection else {}
        rows = f"{len(self.gates)} * hidden" if len(self.gates) > 1 else "hidden"
        return dims | {
            "weight_hh": (rows, self.recurrent),
            "weight_ih": (rows, "features"),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }

    @property
    def recurrent(self) -> str:
        """The dimension of the hidden state."""
        return "projection" if self.projection else "hidden"


LAYOUTS = {
    layout.cell: layout
    for layout in (
        Layout("gru", "nn.GRU", ("r", "z", "n"), one_step="nn.GRUCell", apart=("n",)),
        Layout("lstm", "nn.LSTM", ("i", "f", "g", "o"), one_step="nn.LSTMCell"),
        Layout("lstm_projected", "nn.LSTM with proj_size", ("i", "f", "g", "o"), projection="P"),
        Layout("rnn", "nn.RNN", ("h",), one_step="nn.RNNCell"),
    )
}


def read(
    cell: str, arrays: Mapping[str, ArrayLike], *, layer: int = 0, reverse: bool = False, prefix: str = ""
) -> dict[str, Array]:
    """The parameters of ``cell`` from one layer and direction of a PyTorch module, for ``Parameters.from_dict``.

    ``arrays`` is a module's ``state_dict()``, or anything else that holds arrays by the same names (tensors on the CPU
    count as arrays); other names are left alone. ``prefix`` is what stands before the names where the module is part of
    a model, such as ``"encoder.rnn."``. The arrays that come back are copies of the same dtype. Biases are added where
    the cell has one (of a ``gru``, those of r and z), and are zeros for a module without them.

    These are values, not gradients: PyTorch's gradients of two added biases are equal, each that of the sum.

    Raises :class:`UserError`: LG501 for a cell that no PyTorch module computes, LG502 for names that are missing or
    belong to another cell, LG503 for shapes and number types that do not fit.
    """
    layout = _layout(cell)
    if not isinstance(arrays, Mapping):
        raise UserError(
            f"expected arrays by name, found {type(arrays).__name__}",
            code=WRONG_NAMES,
            hint="of a module, pass its state_dict()",
        )
    names = _names_present(layout, arrays, layer, reverse, prefix)
    found = {stem: _as_array(name, arrays[name]) for stem, name in names.items()}
    _check_arrays(layout, names, found)

    W, U = found["weight_ih"], found["weight_hh"]  # noqa: N806  (as in the equations)
    without = np.zeros(len(W), W.dtype)
    blocks = len(layout.gates)
    sides = [np.split(found.get(stem, without), blocks) for stem in ("bias_ih", "bias_hh")]
    biases = dict(zip(layout.gates, zip(*sides, strict=True), strict=True))

    parameters: dict[str, Array] = {}
    parameters |= {f"W_{gate}": block.copy() for gate, block in zip(layout.gates, np.split(W, blocks), strict=True)}
    parameters |= {f"U_{gate}": block.copy() for gate, block in zip(layout.gates, np.split(U, blocks), strict=True)}
    for gate, (beside_input, beside_state) in biases.items():
        if gate in layout.apart:
            parameters |= {f"b_{gate}": beside_input.copy(), f"bu_{gate}": beside_state.copy()}
        else:
            parameters[f"b_{gate}"] = beside_input + beside_state
    if layout.projection:
        parameters[layout.projection] = found["weight_hr"].copy()
    return parameters


def write(
    cell: str,
    parameters: SupportsToDict | Mapping[str, ArrayLike],
    *,
    layer: int = 0,
    reverse: bool = False,
    prefix: str = "",
    one_step: bool = False,
) -> dict[str, Array]:
    """The arrays of a PyTorch module from the parameters of ``cell``: what :func:`read` reads.

    ``parameters`` is the ``Parameters`` of the generated module, or its arrays by name. ``one_step`` names the arrays
    as ``nn.LSTMCell``, ``nn.GRUCell`` and ``nn.RNNCell`` do, without ``_l0``. To load them: ``load_state_dict({name:
    torch.from_numpy(array) for …})`` into a module that has biases.

    A bias that stands for both goes to ``bias_ih``; ``bias_hh`` gets zeros. The module then computes the same, but does
    not train the same: both biases receive the gradient, so that their sum moves twice as far.

    Gradients (``grads.parameters``) are written by the same names. Of added biases the gradient is in ``bias_ih``; that
    of ``bias_hh`` is equal to it, not the zeros that stand there.

    Raises :class:`UserError` as :func:`read` does; LG502 also for parameters that PyTorch has no place for, such as
    those of peepholes.
    """
    layout = _layout(cell)
    names = _names_to_write(layout, layer, reverse, prefix, one_step)
    if not isinstance(parameters, Mapping) and not hasattr(parameters, "to_dict"):
        raise UserError(
            f"expected Parameters or their arrays by name, found {type(parameters).__name__}",
            code=WRONG_NAMES,
            hint="of gradients, pass grads.parameters",
        )
    given = parameters if isinstance(parameters, Mapping) else parameters.to_dict()
    _check_parameter_names(layout, given)
    found = {name: _as_array(name, given[name]) for name in layout.parameters}
    sizes: dict[str, int] = {}
    for name, array in found.items():
        hint = f"all parameters of one {cell} share their sizes"
        _check_shape(name, array, layout.parameters[name], sizes, hint)

    zeros = np.zeros(sizes["hidden"], found[f"b_{layout.gates[0]}"].dtype)
    blocks = {
        "weight_ih": [found[f"W_{gate}"] for gate in layout.gates],
        "weight_hh": [found[f"U_{gate}"] for gate in layout.gates],
        "bias_ih": [found[f"b_{gate}"] for gate in layout.gates],
        "bias_hh": [found.get(f"bu_{gate}", zeros) for gate in layout.gates],
    }
    if layout.projection:
        blocks["weight_hr"] = [found[layout.projection]]
    return {names[stem]: np.concatenate(parts) for stem, parts in blocks.items()}


def layers(arrays: Iterable[str], prefix: str = "") -> tuple[tuple[int, bool], ...]:
    """The layers that ``arrays``, a ``state_dict`` or its names, holds under ``prefix``: pairs (layer, reverse).

    In PyTorch's order, which is also that of its states: ``((0, False), (0, True), (1, False), …)``.
    """
    named = (_WEIGHT.fullmatch(name[len(prefix) :]) for name in arrays if name.startswith(prefix))
    return tuple(sorted({(int(match[1] or 0), match[2] is not None) for match in named if match}))


_WEIGHT = re.compile(r"weight_ih(?:_l(\d+)(_reverse)?)?")


def _layout(cell: str) -> Layout:
    """How PyTorch lays out ``cell``, or LG501."""
    if cell in LAYOUTS:
        return LAYOUTS[cell]
    close = difflib.get_close_matches(str(cell), LAYOUTS, n=1)
    known = ", ".join(f"{layout.cell} ({layout.module})" for layout in LAYOUTS.values())
    raise UserError(
        f"no module of PyTorch is known to compute the cell {cell!r}",
        code=UNKNOWN_CELL,
        hint=(f"did you mean {close[0]!r}? " if close else "") + f"there are: {known}",
    )


def _suffix(layer: int, reverse: bool) -> str:
    return f"_l{layer}" + ("_reverse" if reverse else "")


def _names_present(
    layout: Layout, arrays: Mapping[str, ArrayLike], layer: int, reverse: bool, prefix: str
) -> dict[str, str]:
    """The name of each array of one layer that is to be read, or LG502."""
    suffix = _suffix(layer, reverse)
    if (layer, reverse) == (0, False) and f"{prefix}weight_ih{suffix}" not in arrays and f"{prefix}weight_ih" in arrays:
        suffix = ""
    projected = next(each for each in LAYOUTS.values() if each.projection)
    projection = f"{prefix}weight_hr{suffix}"
    if projection in arrays and not layout.projection:
        raise UserError(
            f"{projection!r} belongs to an {projected.module}; the cell {layout.cell!r} has no place for it",
            code=WRONG_NAMES,
            hint=f"read it as the cell {projected.cell!r}",
        )
    names = {stem: f"{prefix}{stem}{suffix}" for stem in layout.arrays}
    biases = [stem for stem in names if stem.startswith("bias")]
    if all(names[stem] not in arrays for stem in biases):  # made with bias=False
        for stem in biases:
            del names[stem]
    missing = [name for name in names.values() if name not in arrays]
    if missing == [projection]:
        plain = next(each for each in LAYOUTS.values() if each.gates == layout.gates and not each.projection)
        raise UserError(
            f"there is no {projection!r} among the arrays, which the cell {layout.cell!r} needs",
            code=WRONG_NAMES,
            hint=f"{layout.module} has it; without, an {plain.module} or {plain.one_step} is the cell {plain.cell!r}",
        )
    if missing:
        raise UserError(
            f"there is no {' and no '.join(map(repr, missing))} among the arrays",
            code=WRONG_NAMES,
            hint=_present(arrays, prefix, layer, reverse),
        )
    return names


def _present(arrays: Iterable[str], prefix: str, layer: int, reverse: bool) -> str:
    """What there is where a layer, or part of it, is not."""
    names = list(arrays)
    here = layers(names, prefix)
    if (layer, reverse) in here:
        return "the arrays of a layer belong together; pass the whole state_dict() of the module"
    if here:
        spelled = ", ".join(f"{each} reverse" if backwards else str(each) for each, backwards in here)
        nearest, backwards = min(here, key=lambda each: (each[1] != reverse, abs(each[0] - layer)))
        under = f" under the prefix {prefix!r}" if prefix else ""
        return f"did you mean layer={nearest}{', reverse=True' if backwards else ''}? layers{under}: {spelled}"
    matches = (re.fullmatch(f"(.*?){_WEIGHT.pattern}", name) for name in names)
    prefixes = list(dict.fromkeys(match[1] for match in matches if match))
    if not prefixes:
        return "no name among them is that of a recurrent layer; pass the state_dict() of the module"
    close = prefixes if len(prefixes) == 1 else difflib.get_close_matches(prefix, prefixes, n=1)
    others = f"prefixes of recurrent layers: {', '.join(map(repr, prefixes))}"
    return (f"did you mean prefix={close[0]!r}? " if close else "") + others


def _names_to_write(layout: Layout, layer: int, reverse: bool, prefix: str, one_step: bool) -> dict[str, str]:
    """The name of each array of one layer, or LG502 where the module has no such layer."""
    if layer < 0:
        raise UserError(f"there is no layer {layer}", code=WRONG_NAMES, hint="layers are counted from 0")
    if one_step and not layout.one_step:
        raise UserError(
            f"PyTorch has no one-step class for the cell {layout.cell!r}",
            code=WRONG_NAMES,
            hint=f"leave out one_step, for {layout.module}",
        )
    if one_step and (layer, reverse) != (0, False):
        raise UserError(
            f"{layout.one_step} has one layer and one direction",
            code=WRONG_NAMES,
            hint=f"leave out layer and reverse, or leave out one_step, for {layout.module}",
        )
    suffix = "" if one_step else _suffix(layer, reverse)
    return {stem: f"{prefix}{stem}{suffix}" for stem in layout.arrays}


def _check_parameter_names(layout: Layout, given: Iterable[str]) -> None:
    """LG502 unless the parameters are exactly those of the cell."""
    names = list(given)
    missing = [name for name in layout.parameters if name not in names]
    unknown = [name for name in names if name not in layout.parameters]
    if missing or unknown:
        raise UserError(
            f"these are not the parameters of a {layout.cell} that {layout.module} computes:"
            + (f" missing: {', '.join(missing)}" if missing else "")
            + (";" if missing and unknown else "")
            + (f" without a place: {', '.join(unknown)}" if unknown else ""),
            code=WRONG_NAMES,
            hint=f"{layout.module} computes the cell {layout.cell!r} without options; "
            f"its parameters: {', '.join(layout.parameters)}",
        )


def _as_array(name: str, value: ArrayLike) -> Array:
    """``value`` as a NumPy array of floating-point numbers, or LG503."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # how a tensor says that it cannot be one
        raise UserError(
            f"{name}: cannot be taken as a NumPy array: {error}",
            code=WRONG_SHAPE,
            hint="pass tensors of float32 or float64, on the CPU and without gradients: model.cpu().state_dict()",
        ) from error
    if array.dtype.kind != "f":
        raise UserError(
            f"{name}: expected floating-point numbers, found {array.dtype}",
            code=WRONG_SHAPE,
            hint="quantized modules are not read; convert them to float32 first",
        )
    return array


def _check_arrays(layout: Layout, names: Mapping[str, str], found: Mapping[str, Array]) -> None:
    """LG503 unless all arrays of one layer have the shapes of one module of the right kind."""
    sizes: dict[str, int] = {}
    for stem, dims in layout.arrays.items():
        if stem in found:
            _check_shape(names[stem], found[stem], dims, sizes, _other_module(layout, stem, found[stem]))


def _other_module(layout: Layout, stem: str, array: Array) -> str:
    """What to do about an array that does not fit: perhaps it is of another module, with more gates or fewer."""
    if stem == "weight_hh" and array.ndim == 2 and not layout.projection:
        rows, hidden = array.shape
        for other in LAYOUTS.values():
            if not other.projection and other is not layout and rows == len(other.gates) * hidden:
                blocks = (
                    "its one block of rows is that" if rows == hidden else f"its {len(other.gates)} blocks are those"
                )
                return f"{blocks} of an {other.module}: read it as the cell {other.cell!r}"
    shapes = ", ".join(f"{each} {_spell(dims)}" for each, dims in layout.arrays.items())
    return f"{layout.module} holds {shapes}"


def _check_shape(name: str, array: Array, dims: tuple[str, ...], sizes: dict[str, int], hint: str) -> None:
    """LG503 unless ``array`` has these dimensions. ``sizes`` holds what is known of them, and learns what is not."""
    shape = f"shape {_spell(dims)}"
    if array.ndim == len(dims):
        for dim, length in reversed([*zip(dims, array.shape, strict=True)]):
            if " * " not in dim:
                sizes.setdefault(dim, length)
        expected = tuple(_length(dim, sizes) for dim in dims)
        if array.shape == expected:
            return
        shape += f" = {expected}"
    raise UserError(f"{name}: expected {shape}, found {array.shape}", code=WRONG_SHAPE, hint=hint)


def _length(dim: str, sizes: Mapping[str, int]) -> int:
    """The length of a dimension, or of a multiple such as ``4 * hidden``."""
    times, _, size = dim.rpartition(" * ")
    return int(times or 1) * sizes[size]


def _spell(dims: tuple[str, ...]) -> str:
    return "(" + ", ".join(dims) + ("," if len(dims) == 1 else "") + ")"
