"""What each stage made of a cell, as text: for `lstmgen show`."""

from __future__ import annotations

from lstmgen.calculus.graph import Dependence
from lstmgen.calculus.text import Text
from lstmgen.declare.symbols import Role
from lstmgen.pipeline import Compiled
from lstmgen.schedule.scaling import as_packed
from lstmgen.schedule.work import Plan, Region


def describe(compiled: Compiled, stage: str) -> str:
    """The text of one stage: graph, gradient, schedule, kernel or source."""
    stages = {
        "graph": _graph,
        "gradient": _gradient,
        "schedule": _schedule,
        "kernel": _kernel,
        "source": _source,
    }
    return stages[stage](compiled)


def _kernel(compiled: Compiled) -> str:
    return compiled.backend.kernels(compiled.gradient, compiled.schedule) + "\n"


def _source(compiled: Compiled) -> str:
    return "\n".join(compiled.files.values())


def _graph(compiled: Compiled) -> str:
    text = Text()
    dependence = compiled.primal.dependence()
    lines = [f"graph of {compiled.declaration.name}, digest {compiled.digest}", ""]
    for value in compiled.primal.free:
        lines.append(f"  {value.role:<10} {value.name} ({', '.join(value.dims)})")
    lines.append("")
    for equation in compiled.primal.equations:
        kind = {Dependence.SHARED: "shared", Dependence.INPUT_ONLY: "input-only", Dependence.RECURRENT: "recurrent"}
        dims = f"({', '.join(equation.target.dims)})"
        lines.append(f"  {kind[dependence[equation.target]]:<10} {text.equation(equation):<44} {dims}")
    return "\n".join(lines) + "\n"


def _gradient(compiled: Compiled) -> str:
    text = Text()
    gradient = compiled.gradient
    lines = [f"gradient of {compiled.declaration.name}", ""]
    lines += [f"  in   {seed.adjoint.name}, from the {seed.origin}" for seed in gradient.seeds]
    lines += [f"  in   {value.name}, saved by forward" for value in gradient.residuals]
    read = [value for value in gradient.adjoint.free if value.role == Role.PARAMETER]
    lines += [f"  in   {', '.join(value.name for value in read)}, parameters"] if read else []
    lines.append("")
    lines += [f"  {text.equation(equation)}" for equation in gradient.adjoint.equations]
    lines += ["", f"  out  {', '.join(value.name for value in gradient.adjoint.results)}"]
    return "\n".join(lines) + "\n"


def _schedule(compiled: Compiled) -> str:
    schedule = compiled.schedule
    affine = "affine" if schedule.recurrence.affine else "not affine"
    checkpoints = ", ".join(value.name for value in schedule.checkpoints)
    lines = [
        f"schedule of {compiled.declaration.name} for {compiled.backend.name}",
        "",
        f"  exchanges a step: {schedule.recurrence.exchanges}; update {affine} in the states",
        f"  residuals: {', '.join(value.name for value in schedule.residuals)}",
        f"  checkpoints, from which the others can be rebuilt: {checkpoints}",
        f"  chunks of {schedule.chunk_rows} rows, but of {schedule.chunk_steps} steps at least",
    ]
    for plan in (schedule.forward, schedule.backward, schedule.rebuild):
        lines += ["", *_plan(plan)]
    return "\n".join(lines) + "\n"


def _plan(plan: Plan) -> list[str]:
    text = Text(as_packed(plan.scales))
    lines = [f"{plan.name}{', last step first' if plan.reverse else ''}"]
    for region in Region:
        work = plan.in_region(region)
        if work:
            lines.append(f"  {region}")
        for each in work:
            together = "one call: " if len(each.sources) > 1 else ""
            lines.append(f"    {together}{'; '.join(text.equation(source) for source in each.sources)}")
    if plan.stacks:
        lines.append("  side by side (a > b: b takes the place of a)")
        for stack in plan.stacks:
            slots = ", ".join(" > ".join(value.name for value in slot) for slot in stack.members)
            lines.append(f"    [{slots}]")
    return lines
