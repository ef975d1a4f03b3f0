"""Schedules to compare with the default one: what each decision of it saves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from lstmgen.backends.base import Backend
from lstmgen.schedule.target import Target

SWITCHES: dict[str, tuple[str, Any]] = {
    "stacks_products": ("products that share an operand as one", False),
    "merges_calls": ("equal work on neighbours as one call", False),
    "batch_last": ("the batch as the last axis", False),
    "joins_operands": ("input and state side by side in one product", False),
    "folds": ("scales folded into the weights", ()),
    "hoists_coefficients": ("coefficients for many steps at once", False),
}
"""Decisions of a target, by field: what they are called, and the value without them. No target needs to have all."""

LAYOUTS = ("batch_last",)
"""Switches that choose between two ways, none of which is the plainer one."""

WITHOUT_END = 1 << 40

VALUES: dict[str, dict[int, str]] = {
    "chunk_rows": {128: "chunks of 128 rows", 2048: "chunks of 2048 rows", WITHOUT_END: "all steps as one chunk"},
}
"""Quantities of a target: by field the values to try, and what they are called."""


def variants(target: Target) -> dict[str, Target]:
    """Targets that differ from this one in one field each, by what differs; and the plainest of all."""
    present = {field.name for field in fields(target)}
    found: dict[str, Target] = {}
    for name, (title, off) in SWITCHES.items():
        if name in present and getattr(target, name) != off:
            found[f"without {title}"] = _changed(target, {name: off})
        elif name in present and off is False:
            found[f"with {title}"] = _changed(target, {name: True})
    for name, values in VALUES.items():
        for value, title in values.items():
            if name in present and getattr(target, name) != value:
                least = {"chunk_steps": 1} if "chunk_steps" in present else {}  # or it would decide in its place
                found[title] = _changed(target, {name: value} | least)
    return found | {"none of these decisions": plainest(target)}


def plainest(target: Target) -> Target:
    """The target with every switch off and all steps at a time: each value by itself, in the order of the equations."""
    present = {field.name for field in fields(target)}
    off = {name: value for name, (_, value) in SWITCHES.items() if name in present and name not in LAYOUTS}
    return _changed(target, off | {name: WITHOUT_END for name in VALUES if name in present})


def _changed(target: Target, values: Mapping[str, Any]) -> Target:
    return replace(target, **values)


def for_target(backend: Backend, target: Target) -> Backend:
    """A copy of the back end that asks for other schedules."""
    found = copy.copy(backend)
    found.target = target
    return found
