"""Several products as one.

Products with a shared right operand become one product with a taller matrix (*rows*); products that are added up become
one product with a wider one (*columns*); totals of values that lie side by side become one total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympy import Add, Expr

from lstmgen.calculus.operations import Contract, Total
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.stacks import Rank, Stacking, replace_work
from lstmgen.schedule.work import Work


def stack_products(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """Merges products into taller and wider ones wherever their operands can lie side by side."""
    groups: list[_Columns | _Rows | _Totals] = [
        *_columns(work, stacking.rank),
        *_rows(work, stacking.rank),
        *_totals(work, stacking.rank),
    ]
    ready = []
    # Products before totals, which cost less, and larger groups first: a smaller one can be a run of a larger's slots.
    for group in sorted(groups, key=lambda each: (isinstance(each, _Totals), -len(each.works))):
        order = stacking.order_for(group.requests())
        if order is not None:
            arranged = replace(group, works=tuple(group.works[k] for k in order))
            for members in arranged.requests():
                stacking.place(members)
            ready.append((groups.index(group), arranged))
    merged = list(work)
    for _, arranged in sorted(ready, key=lambda each: each[0]):
        merged = arranged.apply(merged, stacking)
    return tuple(merged)


@dataclass(frozen=True)
class _Rows:
    """Products of one right operand with several left ones: ``targets[k] = lefts[k] @ right``."""

    works: tuple[Work, ...]
    totalled: bool

    def requests(self) -> list[list[Value]]:
        lefts = [_left_of(work) for work in self.works]
        return [lefts, [work.target for work in self.works]]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        lefts, targets = self.requests()
        left_axes, right_axes, out = _product_of(self.works[0]).axes
        right = _product_of(self.works[0]).values[1]
        label = 1 + max((*left_axes, *right_axes))
        expression: Expr = Contract(stacking.span(lefts), right, (label, *left_axes), right_axes, (label, *out))
        if self.totalled:
            expression = Total(expression)
        sources = tuple(source for work in self.works for source in work.sources)
        merged = Work(stacking.span(targets), expression, self.works[0].region, sources)
        return replace_work(works, self.works, merged)


@dataclass(frozen=True)
class _Columns:
    """Products that one sum adds up: ``target = sum lefts[k] @ rights[k] + rest``."""

    sum: Work
    works: tuple[Work, ...]

    def requests(self) -> list[list[Value]]:
        contracts = [work.expression for work in self.works]
        return [[each.values[side] for each in contracts] for side in (0, 1)]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        lefts, rights = self.requests()
        left_axes, right_axes, out = self.works[0].expression.axes
        label = 1 + max((*left_axes, *right_axes))
        product = Contract(stacking.span(lefts), stacking.span(rights), (label, *left_axes), (label, *right_axes), out)
        targets = {work.target for work in self.works}
        # Another group of the same sum may have been merged before.
        sum_ = next(each for each in works if each.target == self.sum.target)
        rest = [term for term in sum_.expression.args if term not in targets]
        sources = tuple(source for work in self.works for source in work.sources)
        if not rest:
            whole = replace(sum_, expression=product, sources=(*sum_.sources, *sources))
            return [whole if each is sum_ else each for each in works if each not in self.works]
        name = f"{sum_.target.name}_product"
        while name in stacking.taken:
            name += "_"
        stacking.taken.add(name)
        part = Value(name, sum_.target.dims, Role.INTERMEDIATE)
        merged = Work(part, product, self.works[0].region, sources)
        total = replace(sum_, expression=Add(*rest, part, evaluate=False))
        found: list[Work] = []
        for each in works:
            if each is sum_:
                found += [merged, total]
            elif each not in self.works:
                found.append(each)
        return found


@dataclass(frozen=True)
class _Totals:
    """Totals over rows and steps of values that lie side by side: ``targets[k] = total(values[k])``."""

    works: tuple[Work, ...]

    def requests(self) -> list[list[Value]]:
        return [[work.expression.args[0] for work in self.works], [work.target for work in self.works]]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        values, targets = self.requests()
        sources = tuple(source for work in self.works for source in work.sources)
        merged = Work(stacking.span(targets), Total(stacking.span(values)), self.works[0].region, sources)
        return replace_work(works, self.works, merged)


def _totals(work: Sequence[Work], rank: Rank) -> list[_Totals]:
    groups: dict[tuple[Any, ...], list[Work]] = {}
    for each in work:
        if isinstance(each.expression, Total) and isinstance(each.expression.args[0], Value):
            groups.setdefault((each.region, each.expression.args[0].dims), []).append(each)
    return [
        _Totals(tuple(sorted(group, key=lambda each: rank(each.expression.args[0]))))
        for group in groups.values()
        if len(group) > 1 and len({each.expression.args[0] for each in group}) == len(group)
    ]


def _is_shared(value: Expr) -> bool:
    return isinstance(value, Value) and value.role == Role.PARAMETER


def _rows(work: Sequence[Work], rank: Rank) -> list[_Rows]:
    groups: dict[tuple[Any, ...], list[Work]] = {}
    for each in work:
        totalled = isinstance(each.expression, Total) and isinstance(each.expression.args[0], Contract)
        inner = each.expression.args[0] if totalled else each.expression
        if not isinstance(inner, Contract):
            continue
        left, right = inner.values
        if not isinstance(left, Value) or not (totalled or _is_shared(left)):
            continue
        groups.setdefault((each.region, totalled, right, inner.axes, left.dims), []).append(each)
    return [
        _Rows(tuple(sorted(group, key=lambda each: rank(_left_of(each)))), key[1])
        for key, group in groups.items()
        if len(group) > 1 and len({_left_of(each) for each in group}) == len(group)
    ]


def _product_of(work: Work) -> Contract:
    """The product that a work computes, whether or not it totals it."""
    inner = work.expression.args[0] if isinstance(work.expression, Total) else work.expression
    assert isinstance(inner, Contract)
    return inner


def _left_of(work: Work) -> Value:
    left: Value = _product_of(work).values[0]
    return left


def _columns(work: Sequence[Work], rank: Rank) -> list[_Columns]:
    by_target = {each.target: each for each in work}
    readers: dict[Value, int] = {}
    for each in work:
        for value in each.reads:
            readers[value] = readers.get(value, 0) + 1
    found = []
    for each in work:
        if not isinstance(each.expression, Add):
            continue
        groups: dict[tuple[Any, ...], list[Work]] = {}
        for term in each.expression.args:
            product = by_target.get(term)
            if product is None or readers[product.target] != 1 or not isinstance(product.expression, Contract):
                continue
            left, right = product.expression.values
            if _is_shared(left) and isinstance(right, Value) and product.region is each.region:
                key = (product.expression.axes, left.dims, right.dims)
                groups.setdefault(key, []).append(product)
        for group in groups.values():
            # A sum of products with one right operand is a matter of rows.
            if len(group) > 1 and len({member.expression.values[1] for member in group}) == len(group):
                ranked = sorted(group, key=lambda member: rank(member.expression.values[0]))
                found.append(_Columns(each, tuple(ranked)))
    return found
