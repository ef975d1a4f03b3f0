"""What `test_bench.py` has workers do. They import this module, so it imports little."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lstmgen.bench import generated
from lstmgen.bench.implementation import FORWARD, TRAINING, Implementation, Timed
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject


class Echo:
    """Answers, fails, dies."""

    def __init__(self, word: str) -> None:
        self.word = word

    def say(self, more: str) -> str:
        print("this is no answer")
        return f"{self.word} {more} {os.environ.get('OPENBLAS_CORETYPE', '-')}"

    def fail(self) -> None:
        raise ValueError("not today")

    def die(self) -> None:
        print("last words", flush=True)
        os._exit(3)

    def cores(self) -> list[int]:
        return sorted(os.sched_getaffinity(0))


def failing(subject: Subject, problem: Problem) -> Implementation:
    """Cannot be built."""
    raise RuntimeError("no such device")


def without_gradients(subject: Subject, problem: Problem) -> Implementation:
    """Says that it computes gradients, and gives none."""
    timed = generated.build(subject, problem)[FORWARD]
    return {TRAINING: timed}


def allocating(subject: Subject, problem: Problem) -> Implementation:
    """Fills 64 MiB at any but the tiniest shape, and lets go of half of it."""

    def train() -> Any:
        size = 1 << 22 if problem.sizes["steps"] > 2 else 0
        first, second = np.ones(size), np.ones(size)
        return first if first.sum() < second.sum() else second

    return {TRAINING: Timed(train, lambda result: {})}
