"""The contract of generated modules: names, shapes, and what every call computes.

Each check takes one module, draws the arrays that it needs, and yields what is wrong. None of it knows how a module
comes to do what it does.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lstmgen.testing.trial import DTYPES, Made, Trial, by_tensor, copied, shared, writeable

EXPORTS = ("Gradients", "Inputs", "Parameters", "Residuals", "Sizes", "State", "Workspace")
FUNCTIONS = ("forward", "infer", "step", "backward")


def names_and_signatures(made: Made) -> Iterator[str]:
    """The module exports what the contract names, documented; inputs are positional, all else by keyword."""
    module, declaration = made.module, made.compiled.declaration
    inputs = [value.name for value in declaration.inputs]
    outputs = ["Outputs"] if len(declaration.outputs) > 1 else []
    listed = getattr(module, "__all__", ())
    for name in (*EXPORTS, *outputs, *FUNCTIONS):
        if name not in listed:
            yield f"__all__ lacks {name}"
        if not hasattr(module, name):
            yield f"there is no {name}"
        elif not inspect.getdoc(getattr(module, name)):
            yield f"{name} has no docstring"
    start = ["start"] if declaration.step_index is not None else []
    wanted = {
        "forward": (["p", *inputs], ["initial", *start, "residuals", "workspace"]),
        "infer": (["p", *inputs], ["initial", *start, "workspace"]),
        "step": (["p", *(f"{name}_t" for name in inputs)], ["state", *start]),
        "backward": (["p", "residuals", "d_outputs"], ["d_final"]),
    }
    for function, (positional, keywords) in wanted.items():
        arguments = list(inspect.signature(getattr(module, function)).parameters.values())
        by_keyword = sorted(each.name for each in arguments if each.kind is each.KEYWORD_ONLY)
        by_place = [each.name for each in arguments if each.kind is each.POSITIONAL_OR_KEYWORD]
        if (by_place, by_keyword) != (positional, sorted(keywords)):
            yield f"{function} takes {by_place} and by keyword {by_keyword}, not {positional} and {sorted(keywords)}"
    fields = {
        "State": [state.name for state in declaration.states],
        "Inputs": inputs,
        "Gradients": ["parameters", "inputs", "initial"],
        **({"Outputs": [value.name for value in declaration.outputs]} if outputs else {}),
    }
    for name, expected in fields.items():
        found = list(getattr(getattr(module, name), "_fields", ()))
        if found != expected:
            yield f"{name} has the fields {found}, not {expected}"


def shapes_and_dtypes(made: Made) -> Iterator[str]:
    """Results have the shapes of what they belong to, the dtype of the parameters, and belong to the caller."""
    for dtype in DTYPES:
        trial = made.draw(dtype=dtype)
        for name, array in trial.run().items():
            if not isinstance(array, made.array_type):
                yield f"{name} is a {type(array).__name__}, no array"
            elif array.dtype != dtype:
                yield f"{name} is {array.dtype} for parameters of {np.dtype(dtype)}"
            elif not writeable(array):
                yield f"{name} cannot be written to"
        results, residuals = trial.forward()
        yield from made.differences(results | trial.backward(residuals), made.expected(trial))


def no_steps_and_no_rows(made: Made) -> Iterator[str]:
    """Without steps or without rows, results are empty, gradients zero, and states pass through as copies."""
    for steps, rows in ((0, 3), (4, 0), (0, 0), (1, 1)):
        trial = made.draw(steps=steps, rows=rows)
        results, residuals = trial.forward()
        found = results | trial.backward(residuals)
        for message in made.differences(found, made.expected(trial)):
            yield f"steps={steps}, batch={rows}: {message}"
        inferred = trial.infer()
        for name in trial.d_outputs:
            if inferred[f"inferred {name}"].shape != results[f"output {name}"].shape:
                yield f"steps={steps}, batch={rows}: infer gives {name} the shape {inferred[f'inferred {name}'].shape}"
        for message in shared(found | inferred, trial.arguments()):
            yield f"steps={steps}, batch={rows}: {message}"


def none_means_zeros(made: Made) -> Iterator[str]:
    """A state that is None, or a field that is None, means zeros; so does a cotangent."""
    trial = made.draw()
    module, p = made.module, trial.p
    zero = replace(
        trial,
        initial={name: np.zeros_like(array) for name, array in trial.initial.items()},
        d_outputs={name: np.zeros_like(array) for name, array in trial.d_outputs.items()},
        d_final={name: np.zeros_like(array) for name, array in trial.d_final.items()},
    )
    results, residuals = zero.forward()
    inputs = list(trial.inputs.values())
    for state in (None, module.State()):
        word = "None" if state is None else "State()"
        outputs, final, _ = module.forward(p, *inputs, initial=state, **trial.start)
        found = trial.named("output", outputs) | {f"final {k}": v for k, v in final._asdict().items()}
        yield from (f"initial={word}: {each}" for each in made.differences(found, results))
    first = next(iter(trial.initial))
    partly = replace(trial, initial={**trial.initial, first: zero.initial[first]})
    outputs, *_ = module.forward(p, *inputs, initial=module.State(**{**trial.initial, first: None}), **trial.start)
    expected, _ = partly.forward()
    named = trial.named("output", outputs)
    yield from (f"initial.{first}=None: {each}" for each in made.differences(named, {k: expected[k] for k in named}))
    empty = [None, *([module.Outputs()] if len(trial.d_outputs) > 1 else [])]
    for d_outputs in empty:
        found = module.backward(p, residuals, d_outputs, d_final=zero.state(zero.d_final))
        if np.any(found.parameters.flat) or any(np.any(array) for array in (*found.inputs, *found.initial)):
            yield f"d_outputs={'None' if d_outputs is None else 'Outputs()'} gives gradients that are not zero"
    only_final = replace(trial, d_outputs=zero.d_outputs).backward(residuals)
    found = module.backward(p, residuals, d_final=trial.state(trial.d_final))
    yield from made.differences(by_tensor(found), only_final)


def saturated_gates(made: Made) -> Iterator[str]:
    """Inputs of any size neither overflow nor warn where the equations themselves do not."""
    for dtype in DTYPES:
        for size in (30.0, 1000.0):
            for message in overflows(saturated(made, dict.fromkeys(_inputs(made), size), dtype)):
                yield f"inputs of ±{size:g}: {message}"


def saturated(made: Made, sizes: Mapping[str, float], dtype: Any) -> Trial:
    """A trial whose inputs are all of these sizes, of either sign."""
    trial = made.draw(steps=20, dtype=dtype)
    for name, array in trial.inputs.items():
        array[...] = sizes[name] * np.sign(array)
    return trial


def overflows(trial: Trial) -> Iterator[str]:
    """Where a run overflows, warns, or loses numbers."""
    with warnings.catch_warnings(), np.errstate(over="raise", invalid="raise", divide="raise", under="ignore"):
        warnings.simplefilter("error")
        try:
            found = trial.run()
        except (ArithmeticError, Warning) as error:
            yield f"{trial.p.dtype} code: {type(error).__name__}: {error}"
            return
    lost = [name for name, array in found.items() if not np.all(np.isfinite(array))]
    if lost:
        yield f"{trial.p.dtype} code: not finite: {', '.join(lost)}"


def rows_do_not_mix(made: Made) -> Iterator[str]:
    """What is not a number in one row of the batch leaves the other rows as they are."""
    trial = made.draw()
    expected = trial.run()
    inputs = copied(trial.inputs)
    for array in inputs.values():
        array[1:, 0] = np.nan
    with np.errstate(invalid="ignore"):
        results, residuals = replace(trial, inputs=inputs).forward()
        gradients = replace(trial, inputs=inputs).backward(residuals)
    for name in trial.d_outputs:
        yield from made.differences({name: results[f"output {name}"][:, 1:]}, {name: expected[f"output {name}"][:, 1:]})
    for name in trial.inputs:
        yield from made.differences({name: gradients[f"d_{name}"][:, 1:]}, {name: expected[f"d_{name}"][:, 1:]})


def _inputs(made: Made) -> list[str]:
    return [value.name for value in made.compiled.declaration.inputs]
