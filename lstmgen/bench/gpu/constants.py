"""What a launch, a node of a graph, an empty replay and a copied byte cost on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from lstmgen.bench.gpu.places import Clock, Place

SOURCE = """
// nothing
extern "C" __global__ void nothing(real* __restrict__ a, long long n) {
    if (n < 0) a[0] = real(0);
}
"""
ROUNDS = 7

Constants = dict[str, tuple[float, str]]
"""By name: a number and its unit."""


def measure(here: Place, *, large: bool) -> Constants:
    """All constants; ``large`` for a GPU, else with little work."""
    cupy, clock = here.cupy, here.clock()
    count = 1000 if large else 4
    kernels, one = here.runtime.Kernels("nothing", SOURCE), cupy.array(np.zeros(1, np.float32))
    left, right = (cupy.array(np.ones(shape, np.float32)) for shape in ((16, 512), (512, 2048)))
    product = cupy.array(np.ones((16, 2048), np.float32))

    def launches(number: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(number):
                kernels.launch("nothing", 1, one, 1)

        return run

    def products() -> None:
        for _ in range(count):
            here.runtime.matmul(left, right, product)

    def replay(steps: Callable[[], None]) -> Callable[[], None]:
        graph = here.runtime.Graph(True)
        for _ in range(3):
            graph.run(steps)
        if not getattr(graph, "captures", 1):  # the host's graphs do not count
            raise RuntimeError("no CUDA graph can be captured")
        return lambda: graph.run(steps)

    plain, host = _microseconds(clock, launches(count))
    chain, _ = _microseconds(clock, replay(launches(count)))
    alone, asked = _microseconds(clock, replay(launches(1)))
    multiplied, _ = _microseconds(clock, replay(products))
    size = 1 << (30 if large else 12)
    first, second = (cupy.array(np.zeros(size // 4, np.float32)) for _ in range(2))
    copied, _ = _microseconds(clock, lambda: cupy.copyto(second, first))
    return {
        "a kernel launched, one after another": (plain / count, "us"),
        "of that, until the launch returns": (host / count, "us"),
        "a kernel in a graph": (chain / count, "us"),
        "a product in a graph, (16, 512) @ (512, 2048) in float32": (multiplied / count, "us"),
        "a graph of one empty kernel, replayed": (alone, "us"),
        "of that, until the replay returns": (asked, "us"),
        "copying, bytes read and written": (2 * size / copied / 1e6, "TB/s"),
    }


def _microseconds(clock: Clock, call: Callable[[], object]) -> tuple[float, float]:
    """The median time of a call on the device, and until it returns."""
    call()
    device, host = [], []
    for _ in range(ROUNDS):
        clock.wait()
        began, first = time.perf_counter(), clock.mark()
        call()
        host.append(1e6 * (time.perf_counter() - began))
        second = clock.mark()
        clock.wait()
        device.append(clock.between(first, second))
    return median(device), median(host)
