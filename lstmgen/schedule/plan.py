"""Gradient in, schedule out: the plans of the forward and backward passes, and of rebuilding what was not saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lstmgen.calculus.graph import Dependence, Graph, operands_of, substitute
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.declare.declaration import Declaration, Equation
from lstmgen.declare.symbols import SHARED_ROLES, Value
from lstmgen.schedule.coefficients import hoist_coefficients
from lstmgen.schedule.joining import Joining, join, join_totals
from lstmgen.schedule.placement import ancestors, place, split_sums, without_aliases
from lstmgen.schedule.recurrence import classify
from lstmgen.schedule.scaling import Scaling, fold_scales, rejoin
from lstmgen.schedule.stacking import schedule_pass
from lstmgen.schedule.stacks import slot_rank
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import ONE, Carried, Part, Plan, Region, Schedule, Stack, Work


def schedule(gradient: Gradient, target: Target) -> Schedule:
    """Takes every decision about the passes of a cell for one kind of target."""
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
    scaling = fold_scales(primal, {*results, *residuals}, target.folds)
    forward = _forward_plan(gradient, scaling, residuals, target)
    saved = _saved_stacks(forward, residuals)
    backward = _backward_plan(gradient, primal, adjoint_equations, dependence, residuals, forward, saved, target)
    rebuild = _rebuild_plan(declaration, forward, residuals)
    read = {part for each in rebuild.work for value in each.reads for part in (rebuild.members(value) or [value])}
    leaves = [*declaration.given, *(value for state in declaration.states for value in (state.previous, state.next))]
    checkpoints = tuple(value for value in leaves if value in read or value in residuals)
    return Schedule(
        recurrence, forward, backward, rebuild, residuals, checkpoints, target.chunk_rows, target.chunk_steps
    )


def _saved_stacks(forward: Plan, residuals: tuple[Value, ...]) -> tuple[Stack, ...]:
    """The stacks of forward that hold residuals, with what each slot holds in the end."""
    return tuple(
        Stack(stack.value, tuple((slot[-1],) for slot in stack.members))
        for stack in forward.stacks
        if any(slot[-1] in residuals for slot in stack.members)
    )


def _rebuild_plan(declaration: Declaration, forward: Plan, residuals: tuple[Value, ...]) -> Plan:
    """What makes the residuals from inputs and states: of forward's work what they need.

    All states are known, so that nothing waits for the step before: the work of the time loop is done for all steps of
    a chunk at once.
    """
    known = {*declaration.given, *(value for state in declaration.states for value in (state.previous, state.next))}
    wanted = set(residuals) - known
    needed: list[Work] = []
    regions = list(Region)
    in_order = sorted(forward.work, key=lambda each: regions.index(each.region))
    for each in reversed(in_order):
        written = {each.target, *forward.members(each.target)}
        if written & wanted and each.target not in known:
            needed.append(each)
            wanted |= {part for value in each.reads for part in (value, *forward.members(value))} - known
    work = tuple(
        each if each.region is Region.ONCE else replace(each, region=Region.BEFORE) for each in reversed(needed)
    )
    return replace(forward, name="rebuild", reverse=True, work=work, carried=(), kept=(), results=())


def _forward_plan(
    gradient: Gradient,
    scaling: Scaling,
    residuals: tuple[Value, ...],
    target: Target,
) -> Plan:
    declaration, primal = gradient.declaration, scaling.graph
    dependence = primal.dependence()
    taken = [*(value.name for value in dependence), *(each.name for each in gradient.adjoints.values())]
    joining = Joining(primal.equations, (), {}, {})
    if target.joins_operands:
        joining = join(declaration, primal.equations, taken)
        dependence = _with_joints(dependence, joining)
    equations, dependence = split_sums(replace(primal, equations=joining.equations), dependence)
    rank = slot_rank(gradient, target)
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
    work = tuple(
        replace(each, sources=tuple(joining.written.get(source.target, source) for source in each.sources))
        for each in work
    )
    work, stacks, slots = schedule_pass(
        work,
        lambda value: rank(joining.joined[value][0] if value in joining.joined else value),
        target,
        {*pinned, *(joint.value for joint in joining.joints)},
        {*kept, *residuals},
        taken,
    )
    work, stacks, slots = rejoin(scaling.inner, work, stacks, slots)
    carried = tuple(Carried(state.previous, state.next) for state in declaration.states)
    parts = _parts_of(declaration, joining)
    given = declaration.given
    return Plan(
        "forward",
        False,
        work,
        stacks,
        slots,
        carried,
        kept,
        given,
        primal.results,
        target.batch_last and not _multiplies_rows(gradient.primal),
        scaling.scales,
        scaling.folds,
        joining.joints,
        joining.joined,
        parts,
    )


def _multiplies_rows(primal: Graph) -> bool:
    """Whether a step multiplies a matrix that each row has of its own, such as a memory, by a vector.

    Such a product is one of many small ones, which a library computes where each lies in one piece: batch first.
    """
    dependence = primal.dependence()
    return any(
        isinstance(each.expression, Contract)
        and all(dependence[value] is not Dependence.SHARED for value in each.expression.values)
        and not {*each.expression.axes[0], *each.expression.axes[1]} <= {*each.expression.axes[2]}
        for each in primal.equations
    )


def _with_joints(dependence: Mapping[Value, Dependence], joining: Joining) -> dict[Value, Dependence]:
    """What the values that joining has made depend on."""
    return {
        **dependence,
        **{joint.value: Dependence.RECURRENT for joint in joining.joints},
        **dict.fromkeys(joining.joined, Dependence.SHARED),
        **{each.target: Dependence.RECURRENT for each in joining.equations if each.target not in dependence},
    }


def _parts_of(declaration: Declaration, joining: Joining) -> dict[Value, Part]:
    """Where in a joint its vectors lie; a state lies there under both its names."""
    nexts = {state.previous: state.next for state in declaration.states}
    found: dict[Value, Part] = {}
    for joint in joining.joints:
        for value in joint.parts:
            if value != ONE:
                found[value] = joint.part(value)
                if value in nexts:
                    found[nexts[value]] = found[value]
    return found


def _backward_plan(
    gradient: Gradient,
    primal: Graph,
    equations: tuple[Equation, ...],
    primal_dependence: dict[Value, Dependence],
    residuals: tuple[Value, ...],
    forward: Plan,
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
    dependence = Graph("adjoint", tuple(known), equations, results).dependence(known)
    carried = tuple(
        Carried(seed.adjoint, gradient.adjoints.get(state.previous, seed.adjoint))
        for state in declaration.states
        for seed in gradient.seeds
        if seed.origin is Origin.NEXT_STEP and seed.of == state.next
    )
    outgoing = [each.outgoing for each in carried if each.outgoing != each.incoming]
    incoming = [each.incoming for each in carried]
    work = place(equations, dependence, outgoing, defer="all", carried_in=incoming)
    if target.hoists_coefficients:
        taken = [value.name for value in (*dependence, *(stack.value for stack in saved))]
        equations = hoist_coefficients(work, dependence, incoming, {*results, *outgoing}, taken)
        dependence = Graph("adjoint", tuple(known), equations, results).dependence(known)
        work = place(equations, dependence, outgoing, defer="all", carried_in=incoming)
    work = (
        *(Work(each.target, each.expression, Region.ONCE, (each,)) for each in recomputed),
        *_fuse_totals(work, dependence),
    )
    work, columns = join_totals(work, forward.joints, [value.name for value in dependence])
    after = {value for each in work if each.region is Region.AFTER for value in each.reads}
    looped = [each.target for each in work if each.region is Region.LOOP]
    of_inputs = {gradient.adjoints[value] for value in declaration.inputs if value in gradient.adjoints}
    kept = tuple(value for value in looped if value in after or value in of_inputs)
    constants = [each.value for each in declaration.constants]
    pinned = {*outgoing, *of_inputs, *(seed.adjoint for seed in gradient.seeds), *residuals, *constants}
    taken = [value.name for value in (*dependence, *(part.home for part in columns.values()))]
    pinned |= {joint.value for joint in forward.joints}
    work, stacks, slots = schedule_pass(work, slot_rank(gradient, target), target, pinned, kept, taken, saved)
    given = (*residuals, *(seed.adjoint for seed in gradient.seeds if seed.origin is Origin.LOSS))
    parts = {**forward.parts, **columns}
    return Plan(
        "backward",
        True,
        work,
        stacks,
        slots,
        carried,
        kept,
        given,
        results,
        forward.batch_last,
        {},
        (),
        forward.joints,
        {},
        parts,
    )


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
