"""Time the generated LSTM kernels against the matrix products no LSTM can do without, and PyTorch.

    python benchmarks/lstm_speed.py [--shape T,B,F,H]... [--threads N] [--rounds N] [--json PATH]

Every implementation runs in a process of its own, because the thread pools of two runtimes in one
process disturb one another. The processes take turns; a round gives each a turn. All get the same
numbers, and no time is printed unless results and gradients agree with a float64 reference.
Exit status: 0 measured, 1 wrong results or the limit exceeded, 2 wrong arguments.
"""

# ruff: noqa: N806  (W, U, T, B, as in the equations)

from __future__ import annotations

import argparse
import importlib.util
import inspect
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache, partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Times = dict[str, dict[str, list[float]]]  # by implementation and measure: ms of each round

GATES = "figo"  # the order of stacked gates here; PyTorch's is i, f, g, o
RESULTS = ("outputs", "final h", "final c", "d_x", "d_h", "d_c", "d_W", "d_U", "d_b")
MEASURES = {"train": "forward+backward", "forward": "forward"}
TOLERANCE = 2e-5  # of each result's largest entry; float32 rounding makes some 1e-6
LIMIT = 1.60  # generated forward+backward over the floor, at the default shape on one thread
TURN_S = 0.1  # a turn repeats the call for at least this long
IDLE_S = 0.1  # between turns on several threads: idle pools go on spinning for a while


class Shape(NamedTuple):
    steps: int
    batch: int
    features: int
    hidden: int


DEFAULT = Shape(100, 32, 128, 256)


class Implementation(NamedTuple):
    forward: Callable[[], Any]
    train: Callable[[], Any]  # forward, and backward to every gradient
    results: Callable[[Any], list[Array]] | None = None  # RESULTS out of what `train` returned


def problem(shape: Shape) -> dict[str, Array]:
    """The same float32 numbers in every process."""
    T, B, F, H = shape
    rng = np.random.default_rng(0)
    weights = {"W": (4, H, F), "U": (4, H, H), "b": (4, H)}
    data = {name: rng.uniform(-1, 1, size) / H**0.5 for name, size in weights.items()}
    values = {"x": (T, B, F), "h": (B, H), "c": (B, H)}
    values |= {"d_outputs": (T, B, H), "d_final_h": (B, H), "d_final_c": (B, H)}
    data |= {name: rng.standard_normal(size) for name, size in values.items()}
    return {name: array.astype(np.float32) for name, array in data.items()}


def reference(shape: Shape) -> list[Array]:
    """RESULTS in float64, one step at a time, straight from the equations."""
    H = shape.hidden
    v = {name: array.astype(np.float64) for name, array in problem(shape).items()}
    W, U, b = v["W"].reshape(4 * H, -1), v["U"].reshape(4 * H, -1), v["b"].reshape(4 * H)
    h, c, outputs, tape = v["h"], v["c"], [], []
    for x in v["x"]:
        a_f, a_i, a_g, a_o = np.split(x @ W.T + h @ U.T + b, 4, axis=1)
        f, i, o = (1 / (1 + np.exp(-a)) for a in (a_f, a_i, a_o))
        g, h_prev, c_prev = np.tanh(a_g), h, c
        c = f * c_prev + i * g
        h = o * np.tanh(c)
        outputs.append(h)
        tape.append((x, h_prev, c_prev, f, i, g, o, np.tanh(c)))
    d_h, d_c, d_x = v["d_final_h"], v["d_final_c"], np.empty_like(v["x"])
    d_W, d_U, d_b = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    for t in reversed(range(shape.steps)):
        x, h_prev, c_prev, f, i, g, o, tanh_c = tape[t]
        d_h = d_h + v["d_outputs"][t]
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        d_a_f, d_a_i = d_c * c_prev * f * (1 - f), d_c * g * i * (1 - i)
        d_a = np.hstack([d_a_f, d_a_i, d_c * i * (1 - g**2), d_h * tanh_c * o * (1 - o)])
        d_W += d_a.T @ x
        d_U += d_a.T @ h_prev
        d_b += d_a.sum(axis=0)
        d_h, d_c, d_x[t] = d_a @ U, d_c * f, d_a @ W
    parameters = (d.reshape(4, H, *d.shape[1:]) for d in (d_W, d_U, d_b))
    return [np.stack(outputs), h, c, d_x, d_h, d_c, *parameters]


def generated(shape: Shape, *, reuse: bool = False) -> Implementation:
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # the checkout, run from anywhere
    from generated import lstm_numpy as lstm

    data = problem(shape)
    x, d_outputs, initial = data["x"], data["d_outputs"], lstm.State(h=data["h"], c=data["c"])
    d_final = lstm.State(h=data["d_final_h"], c=data["d_final_c"])
    _, _, F, H = shape
    p = lstm.Parameters.initialize(features=F, hidden=H, dtype=np.float32, seed=0)
    for name, (k, gate) in itertools.product("WUb", enumerate(GATES)):
        setattr(p, f"{name}_{gate}", data[name][k])
    scratch: dict[str, Any] = {"workspace": lstm.Workspace()} if reuse else {}
    takes_scratch = "workspace" in inspect.signature(lstm.backward).parameters
    backward_scratch = scratch if takes_scratch else {}

    def forward() -> Any:
        return lstm.forward(p, x, initial=initial, **scratch)

    def train() -> Any:
        outputs, final, residuals = forward()
        grads = lstm.backward(p, residuals, d_outputs, d_final=d_final, **backward_scratch)
        return outputs, final, grads

    def results(trained: Any) -> list[Array]:
        outputs, final, grads = trained
        gates = [[getattr(grads.parameters, f"{n}_{gate}") for gate in GATES] for n in "WUb"]
        states = [outputs, final.h, final.c, grads.inputs.x, grads.initial.h, grads.initial.c]
        return states + [np.stack(arrays) for arrays in gates]

    return Implementation(forward, train, results)


def torch_lstm(shape: Shape) -> Implementation:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    data = {name: torch.from_numpy(array) for name, array in problem(shape).items()}
    model = torch.nn.LSTM(shape.features, shape.hidden)
    order = [1, 0, 2, 3]  # from either order of gates to the other
    W, U, b = (data[name][order].flatten(0, 1) for name in "WUb")
    with torch.no_grad():
        for theirs, ours in zip(model.parameters(), (W, U, b, torch.zeros_like(b)), strict=True):
            theirs.copy_(ours)
    x, h, c = (data[name].requires_grad_() for name in "xhc")
    leaves = [x, h, c, *model.parameters()]
    cotangents = [data["d_outputs"], data["d_final_h"][None], data["d_final_c"][None]]

    def forward() -> Any:
        return model(x, (h[None], c[None]))

    def train() -> Any:
        outputs, final = forward()
        return outputs, final, torch.autograd.grad([outputs, *final], leaves, cotangents)

    def results(trained: Any) -> list[Array]:
        outputs, (final_h, final_c), (d_x, d_h, d_c, d_W, d_U, d_b, _) = trained
        parameters = (d.unflatten(0, (4, -1))[order] for d in (d_W, d_U, d_b))
        arrays = [outputs, final_h[0], final_c[0], d_x, d_h, d_c, *parameters]
        return [array.detach().numpy() for array in arrays]

    return Implementation(forward, train, results)


def floor(shape: Shape) -> Implementation:
    """The necessary products alone, into buffers allocated beforehand.

    Row-major throughout: of the eight possible layouts the fastest in OpenBLAS, to a few percent.
    """
    T, B, F, H = shape
    rng, dot = np.random.default_rng(0), np.dot

    def values(*size: int) -> Array:
        return rng.standard_normal(size, np.float32)

    W, W_T, U, U_T = values(4 * H, F), values(F, 4 * H), values(4 * H, H), values(H, 4 * H)
    x, x_rows, h, h_rows = values(F, T * B), values(T * B, F), values(T, H, B), values(T * B, H)
    d_a, d_a_steps = values(4 * H, T * B), values(T, 4 * H, B)
    a_x, a_h, d_h, d_x = values(4 * H, T * B), values(4 * H, B), values(H, B), values(F, T * B)
    d_W, d_U = values(4 * H, F), values(4 * H, H)

    def forward() -> None:
        dot(W, x, a_x)
        for h_step in h:
            dot(U, h_step, a_h)

    def train() -> None:
        forward()
        for d_a_step in d_a_steps:
            dot(U_T, d_a_step, d_h)
        dot(d_a, h_rows, d_U)
        dot(d_a, x_rows, d_W)
        dot(W_T, d_a, d_x)

    return Implementation(forward, train)


BUILDERS: dict[str, Callable[[Shape], Implementation]] = {
    "matrix products (floor)": floor,
    "generated": generated,
    "generated, workspace": partial(generated, reuse=True),
    "torch.nn.LSTM": torch_lstm,
}
FLOOR, GENERATED, WORKSPACE, TORCH = BUILDERS


@cache  # once in its worker
def implementation(name: str, shape: Shape) -> Implementation:
    return BUILDERS[name](shape)


def results(name: str, shape: Shape) -> list[Array]:
    train, collect = implementation(name, shape)[1:]
    assert collect
    train()  # so that reused buffers, where there are any, are tested too
    return collect(train())


def turn(name: str, shape: Shape, what: str) -> tuple[float, float]:
    """The median in ms of three calls or more, and the part of the time without a core to run on.

    One more call goes first and is not counted: it brings the data back into the caches.
    """
    call = getattr(implementation(name, shape), what)
    call()
    times: list[float] = []
    ran = -time.process_time()
    while len(times) < 3 or sum(times) < TURN_S:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    ran += time.process_time()
    return 1e3 * median(times), 1 - ran / sum(times)


def blas() -> str:
    """NumPy's library and, where threadpoolctl can tell, its kernels (no torch in this process)."""
    if importlib.util.find_spec("threadpoolctl"):
        from threadpoolctl import threadpool_info

        for pool in threadpool_info():
            if pool["user_api"] == "blas":
                kernels = pool.get("architecture", "unknown")
                return f"{pool['internal_api']} {pool['version']}, {kernels} kernels"
    build: Any = np.show_config(mode="dicts")
    library = build["Build Dependencies"]["blas"]
    return f"{library['name']} {library['version']}, kernels unknown (threadpoolctl would tell)"


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().replace("\t", "").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    numbers = (f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts)
    return ", ".join([facts.get("model name", platform.machine()), *numbers])


def prepare(threads: int, keep_blas_env: bool) -> str:
    """Set the environment and the cores that the workers inherit; say which cores."""
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    if not keep_blas_env:  # these would choose other kernels than the CPU's own
        os.environ.pop("OPENBLAS_CORETYPE", None)
        os.environ.pop("OPENBLAS_L2_SIZE", None)
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    return f"pinned to {sorted(os.sched_getaffinity(0))}"


def deviations(got: list[Array], expected: list[Array]) -> dict[str, float]:
    """Of each result, relative to its largest entry; a wrong shape is infinitely far."""
    return {
        name: float(abs(g - e).max() / abs(e).max()) if g.shape == e.shape else float("inf")
        for name, g, e in zip(RESULTS, got, expected, strict=True)
    }


class Report(NamedTuple):
    blas: str
    deviations: dict[str, float]  # the largest of each implementation
    times: Times
    waited: float  # part of the time that others had the core; known on one thread only


def measure(shape: Shape, rounds: int, threads: int) -> Report:
    names = [name for name in BUILDERS if name != TORCH or importlib.util.find_spec("torch")]
    with ExitStack() as stack:
        # Spawned, not forked: only a new interpreter reads the environment anew.
        start = partial(ProcessPoolExecutor, max_workers=1, mp_context=get_context("spawn"))
        workers = {name: stack.enter_context(start()) for name in names}
        expected = workers[FLOOR].submit(reference, shape).result()
        worst = {}
        for name in names[1:]:
            found = deviations(workers[name].submit(results, name, shape).result(), expected)
            wrong = [f"{result} by {d:.1e}" for result, d in found.items() if not d <= TOLERANCE]
            if wrong:
                raise SystemExit(f"{name} at {shape} is off, so no times: {', '.join(wrong)}")
            worst[name] = max(found.values())
        times: Times = {what: {name: [] for name in names} for what in MEASURES}
        waits = []
        for number, what in itertools.product(range(rounds), MEASURES):
            for name in names[:: -1 if number % 2 else 1]:  # nobody always follows the same
                time.sleep(IDLE_S if threads > 1 else 0)
                ms, waited = workers[name].submit(turn, name, shape, what).result()
                times[what][name].append(ms)
                waits.append(waited)
        library = workers[FLOOR].submit(blas).result()
    return Report(library, worst, times, sum(waits) / len(waits) if threads == 1 else 0.0)


def ratio(times: dict[str, list[float]], name: str, to: str) -> float:
    """The median over rounds of one time by another: what slows a whole round leaves it alone."""
    if name not in times or to not in times:
        return float("nan")
    return median(a / b for a, b in zip(times[name], times[to], strict=True))


def table(times: Times) -> str:
    lines = []
    for what, title in MEASURES.items():
        lines.append(f"\n{title:24}{'ms median (min–max)':>30}{'/ floor':>10}{'/ torch':>10}")
        for name in BUILDERS:
            ms = times[what].get(name)
            text = f"{median(ms):.4g} ({min(ms):.4g}–{max(ms):.4g})" if ms else "—"
            ratios = (ratio(times[what], name, to) for to in (FLOOR, TORCH))
            cells = (f"{r:10.2f}" if r == r else f"{'—':>10}" for r in ratios)
            lines.append(f"{name:24}{text:>30}{''.join(cells)}")
    return "\n".join(lines)


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def sizes(text: str) -> Shape:
    return Shape(*map(positive, text.split(",")))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", type=sizes, action="append", metavar="T,B,F,H",
        help="steps, batch, features, hidden; repeatable")  # fmt: skip
    add("--threads", type=positive, default=1)
    add("--rounds", type=positive, default=7)
    add("--json", type=Path, metavar="PATH", help="write all that was measured there too")
    add("--keep-blas-env", action="store_true", help="heed OPENBLAS_CORETYPE and _L2_SIZE")
    options = parser.parse_args()

    cores = prepare(options.threads, options.keep_blas_env)
    about = {"Python": platform.python_version(), "NumPy": np.__version__}
    about["torch"] = version("torch") if importlib.util.find_spec("torch") else "—"
    about |= {"CPU": cpu(), "threads": f"{options.threads}, {cores}"}
    reports: list[dict[str, Any]] = []
    exceeded = False
    for shape in options.shape or [DEFAULT]:
        report = measure(shape, options.rounds, options.threads)
        if not reports:
            about["BLAS"] = report.blas
            print("float32;", "; ".join(f"{key} {value}" for key, value in about.items()))
        print("\n" + ", ".join(f"{key} {size}" for key, size in shape._asdict().items()))
        found = "; ".join(f"{name} {d:.0e}" for name, d in report.deviations.items())
        print(f"largest deviation from float64 (limit {TOLERANCE:.0e}): {found}")
        print(table(report.times) + "\n")
        if report.waited > 0.02:
            print(f"DISTURBED: {report.waited:.0%} of the time, other programs had the core")
        limited = shape == DEFAULT and options.threads == 1
        for name in (GENERATED, WORKSPACE):
            over = ratio(report.times["train"], name, FLOOR)
            exceeded |= limited and over > LIMIT
            limit = f"limit {LIMIT:.2f}" if limited else "no limit set here"
            verdict = ", EXCEEDED" if limited and over > LIMIT else ""
            print(f"{name}: forward+backward / floor = {over:.2f} ({limit}{verdict})")
        reports.append({"shape": shape._asdict()} | report._asdict())
    if options.json:
        text = json.dumps({"about": about, "shapes": reports}, indent=2)
        options.json.write_text(text + "\n")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
