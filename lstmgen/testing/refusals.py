"""What generated modules must refuse: arguments of a wrong type, rank, size or dtype, each told by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmgen.testing.parameters import unseen_sizes
from lstmgen.testing.trial import Made, Trial


@dataclass(frozen=True)
class Wrong:
    """A value that must be refused, in words, and patterns that the message must hold besides the argument's name."""

    words: str
    value: Any
    says: tuple[str, ...] = ()


def wrong_arguments_are_refused(made: Made) -> Iterator[str]:
    """A wrong argument raises TypeError or ValueError that names it, says what was expected and what came."""
    trial = made.draw(dtype=np.float32)
    for function, (call, arguments) in _calls(trial).items():
        for argument, value in arguments.items():
            for wrong in _wrongs(made, trial, argument, value):

                def with_it(given: Any, call: Any = call, arguments: Any = arguments, argument: str = argument) -> Any:
                    return call({**arguments, argument: given})

                yield from (f"{function}: {message}" for message in refused(argument, wrong, with_it))


def wrong_residuals_and_workspaces_are_refused(made: Made) -> Iterator[str]:
    """Residuals of other parameters, or what are none, raise; so does a workspace that is none."""
    module, trial = made.module, made.draw()
    results, residuals = trial.forward()
    wrongs = [
        Wrong("None", None),
        Wrong("an array", next(iter(results.values()))),
        Wrong("what forward returns", (1, 2, residuals)),
    ]
    for wrong in wrongs:
        yield from refused("residuals", wrong, lambda value: module.backward(trial.p, value))
    others: dict[str, dict[str, Any]] = {"another dtype": {"dtype": np.float32}}
    if trial.p.sizes:
        others["other sizes"] = {"larger": 1}
    for words, options in others.items():
        other = made.draw(**options).p

        def on_other(value: Any, other: Any = other) -> Any:
            return module.backward(other, value)

        yield from refused("(residuals|p)", Wrong(f"those of parameters of {words}", residuals), on_other)
    for function in (module.forward, module.infer):

        def call(value: Any, function: Callable[..., Any] = function) -> Any:
            return function(trial.p, *trial.inputs.values(), workspace=value)

        yield from refused("workspace", Wrong("a dict", {}, (r"Workspace",)), call)


def wrong_parameters_are_refused(made: Made) -> Iterator[str]:
    """Sizes and dtypes that no kernel can run, and dictionaries that do not fit, raise."""
    module, trial = made.module, made.draw()
    p, sizes = trial.p, trial.p.sizes._asdict()
    initialize = module.Parameters.initialize
    for name in sizes:
        for value in (0, -1, 2.5, "4", None):
            yield from refused(name, Wrong(repr(value), {**sizes, name: value}), lambda given: initialize(**given))
    for dtype in (np.float16, np.int64, np.complex128):
        wrong = Wrong(np.dtype(dtype).name, dtype)
        yield from refused("dtype", wrong, lambda given: initialize(**sizes, dtype=given))
    if not p.names:
        return
    arrays, first = p.to_dict(), p.names[0]
    dicts = {
        first: [
            Wrong("no array", {name: array for name, array in arrays.items() if name != first}),
            Wrong("an array of one axis more", arrays | {first: arrays[first][None]}),
            Wrong("whole numbers", {name: array.astype(np.int64) for name, array in arrays.items()}, ("int64",)),
        ],
        "stranger": [Wrong("an array that is no parameter's", arrays | {"stranger": np.zeros(1)})],
    }
    for name, wrongs in dicts.items():
        for wrong in wrongs:
            for message in refused(
                name, wrong, lambda given: module.Parameters.from_dict(given, **unseen_sizes(module, p))
            ):
                yield f"from_dict: {message}"


Call = Callable[[dict[str, Any]], Any]


def _calls(trial: Trial) -> dict[str, tuple[Call, dict[str, Any]]]:
    """Every function that takes arrays: how it is called with arguments by name, and good ones."""
    module, inputs, start = trial.module, trial.inputs, trial.start
    firsts = {f"{name}_t": array[0] for name, array in inputs.items()}
    initial = trial.state(trial.initial)
    _, residuals = trial.forward()

    def over_steps(function: Callable[..., Any]) -> Call:
        return lambda a: function(
            a["p"], *(a[name] for name in inputs), initial=a["initial"], **{name: a[name] for name in start}
        )

    def one_step(a: dict[str, Any]) -> Any:
        return module.step(a["p"], *(a[name] for name in firsts), state=a["state"], **{name: a[name] for name in start})

    def backward(a: dict[str, Any]) -> Any:
        return module.backward(a["p"], residuals, a["d_outputs"], d_final=a["d_final"])

    every = {"p": trial.p, **inputs, "initial": initial, **start}
    return {
        "forward": (over_steps(module.forward), every),
        "infer": (over_steps(module.infer), every),
        "step": (one_step, {"p": trial.p, **firsts, "state": initial, **start}),
        "backward": (backward, {"p": trial.p, "d_outputs": trial.seeds, "d_final": trial.state(trial.d_final)}),
    }


def _wrongs(made: Made, trial: Trial, argument: str, value: Any) -> Iterator[Wrong]:
    """Values that must be refused in the place of a good one."""
    if value is trial.p:
        yield Wrong("None", None, ("Parameters",))
        yield Wrong("its flat buffer", value.flat, ("Parameters",))
        yield Wrong("a dict", value.to_dict(), ("Parameters", "dict"))
    elif isinstance(value, made.array_type):
        inputs = [*trial.inputs, *(f"{name}_t" for name in trial.inputs)]
        batch = 0 if argument.endswith("_t") and argument in inputs else 1
        yield from _wrong_arrays(made, value, batch)
        if argument in inputs:
            yield Wrong("None", None)
            hint = re.escape("[:, None]" if batch else "[None]")
            yield Wrong("an array without the batch", _first_row(value, batch), (hint,))
        if argument not in inputs[:: len(trial.inputs)]:  # the first input settles how many rows there are
            yield from _wrong_extents(value, batch)
    elif isinstance(value, tuple):
        names: tuple[str, ...] = value._fields  # type: ignore[attr-defined]
        batch = 1 if argument == "d_outputs" else 0
        for name, array in zip(names, value, strict=True):
            for wrong in (*_wrong_arrays(made, array, batch), *_wrong_extents(array, batch)):
                whole = value._replace(**{name: wrong.value})  # type: ignore[attr-defined]
                yield Wrong(f"{name} as {wrong.words}", whole, (rf"\b{name}\b", *wrong.says))
        for words, other in {"an array": value[0], "a number": 0.0, "a dict": {}, "more fields": (*value, 1)}.items():
            yield Wrong(words, other)
    else:
        for other in (1.5, "0", None, True):
            yield Wrong(repr(other), other)


def _wrong_arrays(made: Made, array: Any, batch: int) -> Iterator[Wrong]:
    """An array of other dtypes, ranks and lengths."""
    on_host = made.array_type is np.ndarray
    for dtype in (np.float64, np.float16, np.int64, np.bool_, np.complex64, *([object] if on_host else [])):
        names = rf"\b{array.dtype.name}\b", rf"\b{np.dtype(dtype).name}\b"
        yield Wrong(f"an array of {np.dtype(dtype).name}", array.astype(dtype), names)
    if not on_host:
        yield Wrong("an array of NumPy", made.transfer.to_host(array), (r"numpy\.ndarray",))
    yield Wrong("a list", array.tolist(), ("list",))
    yield _of_shape(array[None])
    yield _of_shape(_first_row(array, batch))
    if array.ndim > batch + 1:
        yield _of_shape(array[..., :1])  # this would broadcast
        yield _of_shape(np.concatenate([array, array], axis=-1))


def _wrong_extents(array: Any, batch: int) -> Iterator[Wrong]:
    """An array of other numbers of rows and steps, some of which would broadcast."""
    yield _of_shape(array[:, :1] if batch else array[:1])
    if batch:
        yield _of_shape(array[:1])
        yield _of_shape(array[:-1])


def _first_row(array: Any, batch: int) -> Any:
    """The first row of an array, as an array; ``batch`` is the axis of rows."""
    return array[:, 0] if batch else array[0, ...]


def _of_shape(array: Any) -> Wrong:
    shape = ",\\s*".join(map(str, array.shape))
    return Wrong(f"an array of shape {array.shape}", array, (rf"\({shape},?\)",))


def refused(argument: str, wrong: Wrong, call: Callable[[Any], Any]) -> Iterator[str]:
    """What is wrong with the way in which ``call`` refuses a value for an argument, if it does."""
    try:
        call(wrong.value)
    except (TypeError, ValueError) as error:
        for pattern in (rf"\b{argument}\b", *wrong.says):
            if not re.search(pattern, str(error)):
                yield f"{argument} given {wrong.words}: the message does not say {pattern}: {error}"
    except Exception as error:
        yield f"{argument} given {wrong.words}: raises {type(error).__name__}, no TypeError or ValueError: {error}"
    else:
        yield f"{argument} given {wrong.words}: accepted"
