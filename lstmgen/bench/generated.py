"""The generated kernels, as they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from lstmgen.bench.implementation import FORWARD, INFERENCE, TRAINING, Arrays, Implementation, Timed
from lstmgen.bench.problem import Problem, start
from lstmgen.bench.subject import Subject, load

SAVE, RECOMPUTE = "save", "recompute"


def build(
    subject: Subject,
    problem: Problem,
    *,
    source: str = "",
    reuse: bool = True,
    residuals: str = "",
    loaded: Callable[[str], ModuleType] = load,
) -> Implementation:
    """The module of ``source``, or the subject's own, made by ``loaded``.

    With ``reuse`` all calls share a workspace. ``residuals`` is the policy that forward is asked for; empty, none is,
    and inference is there too.
    """
    module = loaded(source or subject.source)
    p = start(module, problem.sizes, problem.dtype)
    for name, array in problem.parameters.items():
        setattr(p, name, array)
    inputs = list(problem.inputs.values())
    initial, d_final = module.State(**problem.initial), module.State(**problem.d_final)
    several = len(problem.d_outputs) > 1
    d_outputs: Any = module.Outputs(**problem.d_outputs) if several else next(iter(problem.d_outputs.values()))
    scratch: dict[str, Any] = {"workspace": module.Workspace()} if reuse else {}
    policy = {"residuals": residuals} if residuals else {}
    run = partial(module.forward, p, *inputs, initial=initial, **scratch, **policy)
    takes_scratch = "workspace" in inspect.signature(module.backward).parameters
    back = partial(module.backward, d_final=d_final, **(scratch if takes_scratch else {}))

    def train() -> Any:
        outputs, final, residuals = run()
        return outputs, final, back(p, residuals, d_outputs)

    def computed(outputs: Any, final: Any) -> Arrays:
        values = outputs if several else (outputs,)
        found = {f"output {name}": array for name, array in zip(problem.d_outputs, values, strict=True)}
        return found | {f"final {name}": array for name, array in final._asdict().items()}

    def trained(result: Any) -> Arrays:
        outputs, final, gradients = result
        found = computed(outputs, final)
        found |= {f"d_{name}": getattr(gradients.parameters, name) for name in gradients.parameters.names}
        found |= {f"d_{name}": array for name, array in gradients.inputs._asdict().items()}
        return found | {f"d_initial {name}": array for name, array in gradients.initial._asdict().items()}

    both = {FORWARD: Timed(run, lambda result: computed(*result[:2])), TRAINING: Timed(train, trained)}
    if residuals:  # inference knows no policy
        return both
    infer = partial(module.infer, p, *inputs, initial=initial, **scratch)
    return both | {INFERENCE: Timed(infer, lambda result: computed(*result))}


def has_policies(module: ModuleType) -> bool:
    """Whether forward can be asked what to save for backward."""
    return "residuals" in inspect.signature(module.forward).parameters


def saved_bytes(subject: Subject, problem: Problem, residuals: str) -> int:
    """How much one forward saves for backward."""
    module = load(subject.source)
    p = start(module, problem.sizes, problem.dtype)
    policy = {"residuals": residuals} if has_policies(module) else {}
    saved = module.forward(p, *problem.inputs.values(), **policy)[2]
    return sum(int(array.nbytes) for array in saved.arrays.values())
