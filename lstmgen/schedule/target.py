"""What the scheduler must know of a back end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fold:
    """A function that a back end computes as ``output_scale * inner(input_scale * x) + shift``.

    The schedule then spares it the first multiplication, wherever parameters can be packed scaled instead.
    """

    function: str
    inner: str
    input_scale: float
    output_scale: float
    shift: float


@dataclass(frozen=True)
class Target:
    """The properties of a back end that decide a schedule.

    ``stacks_products``: products that share an operand pay as one. ``merges_calls``: equal elementwise work on adjacent
    slots pays as one call (where a call has a price, as in NumPy). ``joins_operands``: one product a step with states
    and inputs side by side pays more than the inputs of many steps multiplied beforehand. ``batch_last``: arrays in the
    loops have the batch as their last axis, unless each row has matrices of its own to multiply.
    ``hoists_coefficients``: what the reverse loop multiplies adjoints with pays if it is computed for many steps at
    once, before the loop. ``folds``: functions whose arguments it pays to scale by way of parameters.

    ``chunk_rows``: how many rows, steps times batch, a pass takes at a time, ``chunk_steps`` the least steps. What a
    chunk needs should stay in a processor's cache. But every chunk adds its part to the gradients of all parameters,
    which costs as much as about 60 rows of the product that makes the part: so the chunk must have many times that.
    """

    name: str
    stacks_products: bool = True
    merges_calls: bool = True
    joins_operands: bool = True
    batch_last: bool = True
    hoists_coefficients: bool = True
    folds: tuple[Fold, ...] = ()
    chunk_rows: int = 512
    chunk_steps: int = 16
