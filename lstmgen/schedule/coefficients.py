"""Coefficients: what multiplies an adjoint, computed for many steps at once instead of step by step.

Adjoint equations are linear in the adjoints. What they multiply them with depends on values that forward has saved, so
it can be computed before the reverse loop, which is left with one product for each use of an adjoint:
``d_a_o = d_h * dh_da_o`` in place of ``d_o = d_h * tanh_c`` and ``d_a_o = d_o * o * (1 - o)``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from sympy import Add, Expr, Float, Integer, Mul, Number

from lstmgen.calculus.graph import Dependence, operands_of
from lstmgen.calculus.text import split_sign
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import Dims
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.work import Region, Work

Terms = dict[Value | None, Expr]
"""A sum that is linear in what the loop computes: coefficients by value, and under None what no such value is in."""


def hoist_coefficients(
    work: Sequence[Work],
    dependence: Mapping[Value, Dependence],
    incoming: Collection[Value],
    lasting: Collection[Value],
    taken: Iterable[str],
) -> tuple[Equation, ...]:
    """The equations of ``work`` in a valid order, with equations of their own for what the loop can know beforehand.

    Chains are composed first: an adjoint that is a multiple of one other adjoint, and that a single equation of the
    loop reads, is put into that equation. Terms with one adjoint are summed. A coefficient that is more than a value, a
    number or a sign is then named after the two values whose adjoints it links (``dh_da_o``), and what a sum receives
    from the loss alone after the adjoint it enters (``d_c_known``).

    ``incoming`` are the adjoints that the step before hands on; ``lasting`` those wanted under their own name, as
    results or to be handed on. ``dependence`` says what differs from step to step, ``taken`` are names in use.
    """
    looped = [each for each in work if each.region is Region.LOOP]
    recurrent = {*incoming, *(each.target for each in looped)}
    declared = {each.target: terms for each in looped if (terms := _linear(each, recurrent)) is not None}
    composed, gone = _compose(declared, work, lasting)
    names = set(taken)
    equations: list[Equation] = []
    for each in work:
        (equation,) = each.sources
        if each.target in gone:
            continue
        if each.target in composed:
            found = _hoist(equation, composed[each.target], dependence, names)
            if len(found) > 1 or composed[each.target] != declared[each.target]:
                equations += found
                continue
        equations.append(equation)
    return tuple(equations)


def multiples_of_one(equations: Sequence[Equation], results: Collection[Value]) -> dict[Value, Value]:
    """The adjoints that are a multiple of one other, once chains are composed, and that other.

    What only renames an adjoint is that adjoint.
    """
    work = [Work(each.target, each.expression, Region.LOOP, (each,)) for each in equations]
    adjoints = {value for each in work for value in each.reads if value.role == Role.ADJOINT}
    for each in work:
        if not adjoints.isdisjoint(each.reads):
            adjoints.add(each.target)
    declared = {each.target: terms for each in work if (terms := _linear(each, adjoints)) is not None}
    composed, _ = _compose(declared, work, results)
    found: dict[Value, Value] = {}
    renamed: dict[Value, Value] = {}
    for target, terms in composed.items():
        multiple = _multiple(terms)
        if multiple is None:
            continue
        factor = renamed.get(multiple[0], multiple[0])
        if multiple[1] != 1:
            found[target] = factor
        else:
            renamed[target] = factor
            found |= {target: found[factor]} if factor in found else {}
    return found


# -- linear forms ------------------------------------------------------------------------------------------------------


def _linear(work: Work, recurrent: Set[Value]) -> Terms | None:
    """The equation as a sum of multiples of ``recurrent`` values; None if it is something else, or reads none."""
    if len(set(work.target.dims)) < len(work.target.dims):
        return None  # what aligns with a repeated name is not told by names
    terms: Terms = {}
    for term in _parts(Add, work.expression):
        factors = _parts(Mul, term)
        found = [factor for factor in factors if not recurrent.isdisjoint(operands_of(factor))]
        if len(found) > 1 or (found and found[0] not in recurrent):
            return None
        factor = found[0] if found else None
        _add(terms, factor, _product(each for each in factors if each != factor))
    return terms if terms.keys() - {None} else None


def _compose(
    declared: Mapping[Value, Terms], work: Sequence[Work], lasting: Collection[Value]
) -> tuple[dict[Value, Terms], set[Value]]:
    """The linear forms with chains put together, and the values that are no longer needed for it."""
    readers: dict[Value, list[Value]] = {}
    for each in work:
        for value in each.reads:
            readers.setdefault(value, []).append(each.target)
    composed: dict[Value, Terms] = {}
    gone: dict[Value, tuple[Value, Expr]] = {}
    for target, terms in declared.items():
        found: Terms = {}
        for factor, coefficient in terms.items():
            if factor in gone:
                origin, first = gone[factor]
                _add(found, origin, _product((first, coefficient)))
            else:
                _add(found, factor, coefficient)
        composed[target] = found
        multiple, read_by = _multiple(found), readers.get(target, [])
        if multiple is None or target in lasting or len(read_by) != 1 or read_by[0] not in declared:
            continue
        if multiple[0].dims == target.dims == read_by[0].dims:
            gone[target] = multiple
    return composed, set(gone)


def _multiple(terms: Terms) -> tuple[Value, Expr] | None:
    """The one adjoint that all is a multiple of, and its coefficient; None if there are several or something else."""
    (factor, coefficient), *others = terms.items()
    return None if others or factor is None else (factor, coefficient)


# -- equations ---------------------------------------------------------------------------------------------------------


def _hoist(equation: Equation, terms: Terms, dependence: Mapping[Value, Dependence], taken: set[str]) -> list[Equation]:
    """The equation over ``terms``, after those of the coefficients that are worth a name, which is then taken."""
    target = equation.target
    found: list[Equation] = []
    sums: list[Expr] = []
    for factor, coefficient in terms.items():
        dims = _dims(coefficient, target)
        if not _is_bare(coefficient, alone=len(terms) == 1) and not _is_large(coefficient, dims, dependence):
            value = Value(_free_name(factor, target, taken), dims, Role.INTERMEDIATE)
            found.append(Equation(value, coefficient, "", equation.place))
            coefficient = value
        sums.append(coefficient if factor is None else _product((factor, coefficient)))
    return [*found, replace(equation, expression=_sum(sums))]


def _dims(coefficient: Expr, target: Value) -> Dims:
    """The dimensions of what a coefficient reads, in the order of the target's."""
    present = {dim for value in operands_of(coefficient) for dim in value.dims}
    return tuple(dim for dim in target.dims if dim in present)


def _is_large(coefficient: Expr, dims: Dims, dependence: Mapping[Value, Dependence]) -> bool:
    """Whether it has more dimensions than all it is made of that differs from step to step: many outer products."""
    varying = [value for value in operands_of(coefficient) if dependence[value] is not Dependence.SHARED]
    return bool(varying) and len(dims) > max(1, *(len(value.dims) for value in varying))


def _is_bare(coefficient: Expr, *, alone: bool) -> bool:
    """Whether the loop gains nothing by a name for it; a sign beside other terms makes a sum a difference."""
    sign, body = split_sign(coefficient)
    if isinstance(body, Value):
        return sign == "+" or not alone
    return all(value.role == Role.SIZE for value in operands_of(body))


def _free_name(factor: Value | None, target: Value, taken: set[str]) -> str:
    """A name for the coefficient of ``factor`` in ``target``, or for what is known of ``target``; takes it."""
    primal = [value.name.removeprefix("d_") for value in (factor, target) if value is not None]
    name = f"{target.name}_known" if factor is None else "d{}_d{}".format(*primal)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


# -- algebra that keeps the order of what it is given ------------------------------------------------------------------


def _parts(kind: type[Expr], expression: Expr) -> list[Expr]:
    """The terms of a sum or the factors of a product, also of those inside it."""
    if not isinstance(expression, kind):
        return [expression]
    return [part for arg in expression.args for part in _parts(kind, arg)]


def _add(terms: Terms, factor: Value | None, coefficient: Expr) -> None:
    terms[factor] = _sum((terms[factor], coefficient)) if factor in terms else coefficient


def _sum(expressions: Iterable[Expr]) -> Expr:
    """The sum, with its numbers as one term and positive terms before negative ones."""
    terms = [term for each in expressions for term in _parts(Add, each)]
    numbers = [term for term in terms if isinstance(term, Number)]
    rest = [term for term in terms if not isinstance(term, Number)]
    number = _number(Add(*numbers))
    if number != 0 or not rest:
        rest.insert(0, number)
    rest.sort(key=lambda term: split_sign(term)[0] == "-")
    return rest[0] if len(rest) == 1 else Add(*rest, evaluate=False)


def _product(expressions: Iterable[Expr]) -> Expr:
    """The product, with its numbers as one factor in front."""
    factors = [factor for each in expressions for factor in _parts(Mul, each)]
    numbers = [factor for factor in factors if isinstance(factor, Number)]
    rest = [factor for factor in factors if not isinstance(factor, Number)]
    number = _number(Mul(*numbers))
    if number != 1 or not rest:
        rest.insert(0, number)
    return rest[0] if len(rest) == 1 else Mul(*rest, evaluate=False)


def _number(number: Number) -> Number:
    """One spelling for a number: releases of SymPy differ on whether 1.0 equals 1."""
    whole = isinstance(number, Float) and float(number).is_integer()
    return Integer(int(number)) if whole else number
