"""Measures one shape: a process for each contender, its results checked, its calls timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from lstmgen.bench import generated, memory
from lstmgen.bench.contenders import FLOOR, OURS, RECOMPUTING, WITHOUT, Contender
from lstmgen.bench.implementation import FORWARD, INFERENCE, MEASURES, TRAINING, Arrays
from lstmgen.bench.memory import Memory, Peak, Saved
from lstmgen.bench.pool import Setting, Worker, WorkerError
from lstmgen.bench.preparation import beyond
from lstmgen.bench.reference import Reference
from lstmgen.bench.results import AtShape
from lstmgen.bench.shapes import Shape
from lstmgen.bench.station import Build, Station
from lstmgen.bench.subject import Subject, load
from lstmgen.bench.turns import Pace, Times, take_turns

Tell = Callable[[str], None]

REFERENCE = "reference"
"""What has failed where it is not known what results should be."""

NOT_WEIGHED = (FLOOR, "jax")
"""The floor keeps nothing for backward; a compiler runs in JAX's process, and would be weighed too."""

COPIES = 8
"""How many times over the saved values may be in memory at once: every contender has its own."""


@dataclass(frozen=True)
class Plan:
    """What to do at every shape. ``variants`` are modules of other schedules by what differs."""

    subject: Subject
    contenders: Sequence[Contender]
    setting: Setting
    pace: Pace
    dtype: str
    variants: Mapping[str, str]


def measure(plan: Plan, shape: Shape, tell: Tell) -> AtShape:
    """Everything about one shape."""
    sizes = plan.subject.sizes(shape)
    skipped = _too_large(plan, shape)
    if skipped:
        return AtShape(shape, sizes, skipped=skipped)
    tell("computing what results should be")
    try:
        with Worker(plan.setting, Reference, plan.subject, shape, plan.dtype) as worker:
            expected, limit = worker.call("results")
    except WorkerError as error:
        return AtShape(shape, sizes, failed={REFERENCE: str(error)})
    found = _Findings()
    with _stations(plan, {each.key: each.build for each in plan.contenders if each.build}, shape, found) as workers:
        found.check(workers, expected, limit, tell)
        times = _turns(plan, workers, MEASURES, tell)
    ablation = Times({}, None)
    if plan.variants and OURS in found.worst:
        builds: dict[str, Build] = {OURS: generated.build}
        builds |= {name: partial(generated.build, source=text) for name, text in plan.variants.items()}
        with _stations(plan, builds, shape, found) as workers:
            found.check(workers, expected, limit, tell)
            ablation = _turns(plan, workers, (TRAINING,), tell)
    return AtShape(
        shape,
        sizes,
        times,
        found.worst,
        limit,
        found.wrong,
        found.failed,
        _operations(plan.subject, sizes),
        _memory(plan, shape, [key for key in found.worst if key not in plan.variants], tell),
        ablation,
    )


class _Findings:
    """Which contenders failed, which are wrong, and how far each is off."""

    def __init__(self) -> None:
        self.worst: dict[str, float] = {}
        self.wrong: dict[str, dict[str, float]] = {}
        self.failed: dict[str, str] = {}

    def check(self, workers: dict[str, Worker], expected: Arrays, limit: float, tell: Tell) -> None:
        """Sends away the workers whose results are wrong."""
        for key, worker in list(workers.items()):
            tell(f"checking {key}")
            try:
                deviations = worker.call("deviations", expected)
            except WorkerError as error:
                self.failed[key] = str(error)
            else:
                wrong = beyond(deviations, limit)
                if deviations:
                    self.worst[key] = max(deviations.values())
                if not wrong:
                    continue
                self.wrong[key] = wrong
                del self.worst[key]
            workers.pop(key).close()


@contextmanager
def _stations(plan: Plan, builds: Mapping[str, Build], shape: Shape, found: _Findings) -> Iterator[dict[str, Worker]]:
    """A process for each of what is to be measured; those that cannot be built are noted and left out."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for key, build in builds.items():
            try:
                worker = Worker(plan.setting, Station, build, plan.subject, shape, plan.dtype)
            except WorkerError as error:
                found.failed[key] = str(error)
            else:
                workers[key] = stack.enter_context(worker)
        yield workers


def _turns(plan: Plan, workers: Mapping[str, Worker], measures: Sequence[str], tell: Tell) -> Times:
    offers = {key: worker.call("measures") for key, worker in workers.items()}
    return take_turns(workers, offers, measures, plan.pace, tell=tell)


def _memory(plan: Plan, shape: Shape, keys: Sequence[str], tell: Tell) -> dict[str, Memory]:
    """What forward+backward takes, of all that can do both."""
    saved: dict[str, int] = {}
    with Worker(plan.setting, Saved, plan.subject, shape, plan.dtype) as worker:
        tell("measuring memory")
        saved[OURS] = saved[WITHOUT] = worker.call("bytes", generated.SAVE)
        if generated.has_policies(load(plan.subject.source)):
            saved[RECOMPUTING] = worker.call("bytes", generated.RECOMPUTE)
    found = {}
    for each in plan.contenders:
        if each.build is None or each.key not in keys or each.key in NOT_WEIGHED:
            continue
        tell(f"measuring memory: {each.key}")
        try:
            arguments = (each.build, plan.subject, shape, plan.dtype)
            with Worker(plan.setting, Peak, *arguments, extra=memory.ALLOCATOR) as worker:
                found[each.key] = Memory(worker.call("growth"), saved.get(each.key))
        except WorkerError:
            continue
    return found


def _operations(subject: Subject, sizes: Mapping[str, int]) -> dict[str, int]:
    forward, backward = (
        sum(each.operations(sizes) for each in products) for products in (subject.floor.forward, subject.floor.backward)
    )
    return {FORWARD: forward, INFERENCE: forward, TRAINING: forward + backward}


def _too_large(plan: Plan, shape: Shape) -> str:
    """Why a shape is left out: it would not fit into memory. Empty if it would."""
    need = COPIES * memory.expected(plan.subject, shape, np.dtype(plan.dtype).itemsize)
    there = memory.available()
    if there is None or need < there:
        return ""
    return f"it takes about {need / 2**30:.0f} GiB, and {there / 2**30:.0f} GiB are free"
