"""Stacking: several products as one, and equal elementwise work on neighbouring slots as one call.

What one product reads or writes for several equations lies side by side in a *stack*. Slot order is decided here, never
in the declaration: slots whose values go through equal functions are neighbours, so that one call covers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lstmgen.declare.symbols import Value
from lstmgen.schedule.products import stack_products
from lstmgen.schedule.slots import in_order, inherit_slots, merge_calls
from lstmgen.schedule.stacks import Rank, Stacking, named_by_contents
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Slot, Stack, Work


def schedule_pass(
    work: Sequence[Work],
    rank: Rank,
    target: Target,
    pinned: Iterable[Value],
    kept: Iterable[Value],
    taken: Iterable[str],
    given: Sequence[Stack] = (),
) -> tuple[tuple[Work, ...], tuple[Stack, ...], dict[Value, Slot]]:
    """Stacks the products of a pass and merges its calls, as far as the target profits.

    ``pinned`` values have a place of their own, ``kept`` ones are wanted after the loop, names in ``taken`` are the
    cell's; ``given`` are stacks that an earlier pass has filled and this one reads.
    """
    stacking = Stacking(rank, set(taken), frozenset(pinned))
    for stack in given:
        stacking.occupants[stack.value] = [list(slot) for slot in stack.members]
        stacking.closed.add(stack.value)
        stacking.slots |= {slot[0]: Slot(stack.value, index) for index, slot in enumerate(stack.members)}
    merged = tuple(work)
    if target.stacks_products:
        merged = stack_products(merged, stacking)
    inherit_slots(merged, stacking, pinned, kept)
    if target.merges_calls:
        merged = merge_calls(merged, stacking)
    # A product of several stands where the last of them stood, which may be after a reader of the first.
    return named_by_contents(in_order(merged, stacking), stacking)
