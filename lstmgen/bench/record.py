"""Results as JSON: everything that was measured, every round of it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from lstmgen.bench.implementation import MEASURES
from lstmgen.bench.results import AtShape, Results

FORMAT = 1
"""Goes up when a reader of older files would be misled."""


def as_json(results: Results) -> str:
    """The text of a file; the same results give the same text."""
    return json.dumps(_plain(as_data(results)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_data(results: Results) -> dict[str, Any]:
    """Plain data: what there is of it in :class:`Results`, and the medians and ratios that follow from it."""
    return {
        "format": FORMAT,
        "header": asdict(results.header),
        "rows": [asdict(row) for row in results.rows],
        "limit": results.limit,
        "shapes": [_shape(each, [row.key for row in results.rows]) for each in results.shapes],
    }


def _shape(found: AtShape, keys: list[str]) -> dict[str, Any]:
    times = found.times
    medians = {measure: {key: times.median(measure, key) for key in keys} for measure in MEASURES}
    to_floor = {measure: {key: times.ratio(measure, key, "floor") for key in keys} for measure in MEASURES}
    to_torch = {measure: {key: times.ratio(measure, key, "torch") for key in keys} for measure in MEASURES}
    return asdict(found) | {"median_ms": medians, "ratio_to_floor": to_floor, "ratio_to_torch": to_torch}


def _plain(value: Any) -> Any:
    """Infinities and what is no number as text, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
