"""Takes turns: every implementation runs once in every round, so that slow spells hit all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lstmgen.bench.pool import Worker
from lstmgen.bench.station import Turn

Rounds = dict[str, dict[str, list[float]]]
"""By measure and contender: the ms of each round."""


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds, the least seconds of one turn, and the seconds of quiet before it."""

    rounds: int = 7
    least: float = 0.1
    idle: float = 0.0


@dataclass(frozen=True)
class Times:
    """What the clock said. ``others`` is the part of the cores' time that went to other programs, None if unknown."""

    ms: Rounds
    others: float | None

    def median(self, measure: str, key: str) -> float | None:
        """The median over rounds in ms; None for what was not measured."""
        found = self.ms.get(measure, {}).get(key)
        return median(found) if found else None

    def ratio(self, measure: str, key: str, to: str) -> float | None:
        """The median over rounds of one time by another: what slows a whole round leaves it alone."""
        times = self.ms.get(measure, {})
        if not times.get(key) or not times.get(to):
            return None
        return median(a / b for a, b in zip(times[key], times[to], strict=True))


def take_turns(
    workers: Mapping[str, Worker],
    offers: Mapping[str, Sequence[str]],
    measures: Sequence[str],
    pace: Pace,
    *,
    tell: Callable[[str], None] = lambda text: None,
) -> Times:
    """Times every measure that a worker offers. The order turns round every other round: nobody always follows the same
    one."""
    ms: Rounds = {measure: {key: [] for key in workers if measure in offers[key]} for measure in measures}
    had = others = 0.0
    known = True
    for number in range(pace.rounds):
        for measure in measures:
            keys = list(ms[measure])
            for key in keys[:: -1 if number % 2 else 1]:
                tell(f"round {number + 1} of {pace.rounds}: {measure}, {key}")
                # Idle thread pools go on spinning for a while, on the cores that the next one needs.
                time.sleep(pace.idle)
                turn: Turn = workers[key].call("turn", measure, pace.least)
                ms[measure][key].append(turn.ms)
                had += turn.had
                known &= turn.others is not None
                others += turn.others or 0.0
    return Times(ms, others / had if known and had else None)
