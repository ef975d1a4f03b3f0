"""Gradient in, schedule out: the plans of the forward, inference and backward passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lstmgen.calculus.graph import Dependence, Graph, operands_of, substitute
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import SHARED_ROLES, Value
from lstmgen.schedule.placement import ancestors, place, split_sums, without_aliases
from lstmgen.schedule.recurrence import classify
from lstmgen.schedule.stacking import schedule_pass
from lstmgen.schedule.stacks import slot_rank
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Carried, Plan, Region, Schedule, Stack, Work


def schedule(gradient: Gradient, target: Target) -> Schedule:
    """Takes every decision about the three passes of a cell for one kind of target."""
    declaration, primal = gradient.declaration, gradient.primal
    recurrence = classify(declaration, primal)
    results = primal.results
    moving = [state.previous for state in declaration.states]
    equations, renamed = without_aliases(primal.equations, results, moving)
    primal = Graph(primal.name, primal.free, equations, results)
    adjoint_equations = tuple(
        replace(each, expression=substitute(each.expression, renamed)) for each in gradient.adjoint.equations
    )
    dependence = primal.dependence()
    read = {value for each in adjoint_equations for value in operands_of(each.expression)}
    primal_values = [*primal.free, *(each.target for each in primal.equations)]
    residuals = tuple(value for value in primal_values if value in read and dependence[value] is not Dependence.SHARED)
    forward = _forward_plan("forward", gradient, primal, dependence, residuals, target)
    infer = _forward_plan("infer", gradient, primal, dependence, (), target)
    saved = _saved_stacks(forward, residuals)
    backward = _backward_plan(gradient, primal, adjoint_equations, dependence, residuals, saved, target)
    return Schedule(recurrence, forward, infer, backward, residuals)


def _saved_stacks(forward: Plan, residuals: tuple[Value, ...]) -> tuple[Stack, ...]:
    """The stacks of forward that hold residuals, with what each slot holds in the end."""
    return tuple(
        Stack(stack.value, tuple((slot[-1],) for slot in stack.members))
        for stack in forward.stacks
        if any(slot[-1] in residuals for slot in stack.members)
    )


def _forward_plan(
    name: str,
    gradient: Gradient,
    primal: Graph,
    dependence: dict[Value, Dependence],
    residuals: tuple[Value, ...],
    target: Target,
) -> Plan:
    declaration = gradient.declaration
    equations, dependence = split_sums(primal, dependence)
    next_values = [state.next for state in declaration.states]
    work = place(equations, dependence, next_values, defer="products")
    after = {value for each in work if each.region is Region.AFTER for value in each.reads}
    before = {each.target for each in work if each.region is Region.BEFORE}
    wanted = set(residuals) | set(declaration.outputs) | after
    # A state is kept for every step if either of its two names is wanted.
    previous = {state.next: state.previous for state in declaration.states}
    looped = [each.target for each in work if each.region is Region.LOOP]
    kept = tuple(value for value in looped if value in wanted or previous.get(value) in wanted)
    kept += tuple(value for value in before if value in wanted and value not in kept)
    kept = tuple(sorted(set(kept), key=lambda value: [each.target for each in work].index(value)))
    constants = [each.value for each in declaration.constants]
    pinned = {*next_values, *(state.previous for state in declaration.states), *declaration.given, *constants}
    taken = [value.name for value in dependence]
    work, stacks, slots = schedule_pass(work, slot_rank(gradient), target, pinned, {*kept, *residuals}, taken)
    carried = tuple(Carried(state.previous, state.next) for state in declaration.states)
    return Plan(name, False, work, stacks, slots, carried, kept, declaration.given, primal.results)


def _backward_plan(
    gradient: Gradient,
    primal: Graph,
    equations: tuple[Equation, ...],
    primal_dependence: dict[Value, Dependence],
    residuals: tuple[Value, ...],
    saved: tuple[Stack, ...],
    target: Target,
) -> Plan:
    declaration = gradient.declaration
    results = gradient.adjoint.results
    moving = [seed.adjoint for seed in gradient.seeds if seed.origin is Origin.NEXT_STEP]
    equations, _ = without_aliases(equations, results, moving)
    read = {value for each in equations for value in operands_of(each.expression)}
    shared = [
        value
        for value, depends in primal_dependence.items()
        if depends is Dependence.SHARED and value in read and value.role not in SHARED_ROLES
    ]
    again = ancestors(primal.equations, shared)
    recomputed = tuple(each for each in primal.equations if each.target in again and shared)
    # For the reverse loop all that forward saved is known beforehand, and so is what the loss sends to each step.
    known = {
        value: Dependence.SHARED if depends is Dependence.SHARED else Dependence.INPUT_ONLY
        for value, depends in primal_dependence.items()
    }
    for seed in gradient.seeds:
        known[seed.adjoint] = Dependence.INPUT_ONLY if seed.origin is Origin.LOSS else Dependence.RECURRENT
    graph = Graph("adjoint", tuple(known), equations, results)
    dependence = graph.dependence(known)
    carried = tuple(
        Carried(seed.adjoint, gradient.adjoints.get(state.previous, seed.adjoint))
        for state in declaration.states
        for seed in gradient.seeds
        if seed.origin is Origin.NEXT_STEP and seed.of == state.next
    )
    outgoing = [each.outgoing for each in carried if each.outgoing != each.incoming]
    work = place(equations, dependence, outgoing, defer="all", carried_in=[each.incoming for each in carried])
    work = (
        *(Work(each.target, each.expression, Region.ONCE, (each,)) for each in recomputed),
        *_fuse_totals(work, dependence),
    )
    after = {value for each in work if each.region is Region.AFTER for value in each.reads}
    looped = [each.target for each in work if each.region is Region.LOOP]
    of_inputs = {gradient.adjoints[value] for value in declaration.inputs if value in gradient.adjoints}
    kept = tuple(value for value in looped if value in after or value in of_inputs)
    constants = [each.value for each in declaration.constants]
    pinned = {*outgoing, *of_inputs, *(seed.adjoint for seed in gradient.seeds), *residuals, *constants}
    taken = [value.name for value in dependence]
    work, stacks, slots = schedule_pass(work, slot_rank(gradient), target, pinned, kept, taken, saved)
    given = (*residuals, *(seed.adjoint for seed in gradient.seeds if seed.origin is Origin.LOSS))
    return Plan("backward", True, work, stacks, slots, carried, kept, given, results)


def _fuse_totals(work: Sequence[Work], dependence: Mapping[Value, Dependence]) -> tuple[Work, ...]:
    """Makes one product of a product in every row and its total: rows and steps are summed by the product itself.

    Both operands must have rows, or there is nothing to multiply them with.
    """
    by_target = {each.target: each for each in work}
    readers: dict[Value, int] = {}
    for each in work:
        for value in each.reads:
            readers[value] = readers.get(value, 0) + 1
    fused: dict[Value, Work] = {}
    gone: set[Value] = set()
    for each in work:
        if isinstance(each.expression, Total):
            (value,) = each.expression.args
            inner = by_target.get(value)
            if (
                inner is not None
                and isinstance(inner.expression, Contract)
                and readers[inner.target] == 1
                and all(dependence[operand] is not Dependence.SHARED for operand in inner.reads)
            ):
                fused[each.target] = replace(
                    each, expression=Total(inner.expression), sources=(*each.sources, *inner.sources)
                )
                gone.add(inner.target)
    return tuple(fused.get(each.target, each) for each in work if each.target not in gone)
