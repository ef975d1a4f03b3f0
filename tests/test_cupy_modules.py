"""Generated CuPy modules, run on the host: right for any cell, in any order of threads, again and again."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from trial_cells import CASES

from lstmgen import finding, pipeline, plugins
from lstmgen.api import cell, sigmoid, tanh
from lstmgen.backends.base import transfer_of
from lstmgen.backends.cupy import backend, host
from lstmgen.backends.cupy import module as cupy_module
from lstmgen.calculus.unroll import run_adjoint
from lstmgen.declare.cell import Cell
from lstmgen.errors import ProofError, UserError
from lstmgen.testing import BACKEND_CHECKS, check_backend
from lstmgen.verify.proof import run_module
from lstmgen.verify.sample import draw

BUILT_IN = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
pytestmark = pytest.mark.skipif(not host.available(), reason="there is no C++ compiler")


@cache
def compiled(label: str | Cell) -> pipeline.Compiled:
    found = CASES.get(label) if isinstance(label, str) else label
    given, options = found if isinstance(found, tuple) else (found or finding.find_cell(str(label)), {})
    return pipeline.compile_cell(given, backend, options)


def worst(made: pipeline.Compiled, source: str, seed: int = 0, **chunks: int) -> float:
    """How far outputs and gradients of a module are off the interpreter's, at most, relative to the largest entry."""
    module = host.load(source, f"trial_{made.module}", seed)
    vars(module).update({f"_CHUNK_{name.upper()}": value for name, value in chunks.items()})
    sample = draw(made.gradient, seed=0)
    policies = ("save", "recompute")
    runs = [run_module(module, sample, np.float64, policy, transfer_of(backend)) for policy in policies]
    adjoints = run_adjoint(made.gradient, sample.sizes, sample.trajectory, sample.d_outputs, sample.d_final)
    expected = {f"output {name}": array for name, array in sample.trajectory.outputs.items()}
    for group in (adjoints.parameters, adjoints.inputs):
        expected |= {f"d_{name}": array for name, array in group.items()}
    scale = max(float(np.max(np.abs(array), initial=0.0)) for array in expected.values()) or 1.0
    errors = [
        np.max(np.abs(found[name] - array), initial=0.0) / scale for found in runs for name, array in expected.items()
    ]
    return float(np.max(np.nan_to_num(errors, nan=np.inf)))


@pytest.mark.parametrize("label", CASES)
def test_a_trial_cell_is_right_in_every_order_of_threads(label: str) -> None:
    made = compiled(label)
    assert worst(made, made.source, seed=1, rows=1, steps=3) < 1e-11


@pytest.mark.parametrize("label", [*BUILT_IN, *CASES])
def test_a_time_loop_holds_what_a_graph_can_capture_and_nothing_else(label: str) -> None:
    tree = ast.parse(compiled(label).source)
    loops = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "_time_loop"]
    for loop in loops:
        calls = {ast.unparse(each.func) for each in ast.walk(loop) if isinstance(each, ast.Call)}
        views = {each for each in calls if each.rpartition(".")[2] in ("reshape", "transpose")}
        launches = {"_KERNELS.launch", "_KERNELS.launch_rows", "_runtime.matmul"}
        assert calls - views <= launches | {"zip", "range", "reversed"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_cell_is_proven(name: str) -> None:
    assert pipeline.prove(compiled(name)).passed


@pytest.mark.parametrize("check", BACKEND_CHECKS)
def test_the_back_end_conforms(check: str) -> None:
    check_backend(backend, only=[check])


def barriers(source: str) -> list[int]:
    """Where a kernel that reduces rows needs its barriers: between halves, and before the sum is read."""
    needed = r"__syncthreads\(\);\n +(?:if \(threadIdx.x < _half|const real \w+ = _shared)"
    return [found.start() for found in re.finditer(needed, source)]


def test_every_missing_barrier_of_a_reduction_is_found() -> None:
    made = compiled("lstm_layernorm")
    places = barriers(made.source)
    assert len(places) > 10
    for place in places[:: len(places) // 8]:
        broken = f"{made.source[:place]}{'':16}{made.source[place + 16 :]}"
        assert made.source[place : place + 16] == "__syncthreads();"
        assert max(worst(made, broken, seed=seed) for seed in (1, 2, 3)) > 1e-3


def test_the_proof_finds_a_missing_barrier(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled("softmax_units")
    place = barriers(made.source)[0]
    broken = f"{made.source[:place]}{made.source[place + 16 :]}"
    files = {**made.files, f"{made.module}.py": broken}
    with pytest.raises(ProofError):
        pipeline.prove(replace(made, files=files))


def test_each_piece_stands_under_its_equation() -> None:
    source = compiled("lstm").source
    assert "    // c = f * c_prev + i * g  (cell state)\n    const real c = f * c_prev + i * g;\n" in source
    assert "    // d_a_f = d_f * f * (1 - f)\n    const real d_a_f = d_f * f * (real(1) - f);\n" in source


def test_the_runtime_is_written_beside_the_module() -> None:
    files = compiled("lstm").files
    assert list(files) == ["lstm_cupy.py", "_cupy_runtime.py"]
    assert files["_cupy_runtime.py"] == cupy_module.runtime_text()


@cell("keywords")
def keywords(eq: Any) -> None:
    """Values that CUDA or the kernels themselves have other uses for."""
    x, h_prev = eq.input("x"), eq.state("h")
    pow_ = eq.let("pow", sigmoid(eq.affine("pow", W=x, U=h_prev)))
    real = eq.let("real", tanh(eq.affine("real", W=x, U=h_prev)))
    warp = eq.let("row_", pow_ * real + 1)
    unit = eq.let("unit", tanh(warp * h_prev))
    row = eq.let("row", sigmoid(unit))
    eq.output(eq.next("h", row * unit + h_prev / 2))


def test_values_may_be_called_as_the_language_calls_its_own() -> None:
    assert pipeline.prove(compiled(keywords)).passed


@pytest.mark.parametrize("name", ["lstm", "sru", "mlstm"])
def test_a_workspace_serves_again_with_other_numbers(name: str) -> None:
    made = compiled(name)
    module: Any = backend.load(made.source, f"again_{name}")
    sizes = {size: 3 + k for k, size in enumerate(module.Sizes._fields)}
    random = np.random.default_rng(0)
    workspace = module.Workspace()
    for seed in range(4):
        p = module.Parameters.initialize(**sizes, dtype=np.float64, seed=seed)
        x = random.standard_normal((7, 2, sizes["features"]))
        once, fresh = (_passes(module, p, x, given) for given in (workspace, None))
        for one, other in zip(once, fresh, strict=True):
            np.testing.assert_array_equal(one, other)


def _passes(module: Any, p: Any, x: Any, workspace: Any) -> list[Any]:
    outputs, final, residuals = module.forward(p, x, workspace=workspace)
    gradients = module.backward(p, residuals, outputs)
    return [outputs, *final, gradients.parameters.flat, *gradients.inputs, *gradients.initial]


def test_more_rows_and_units_than_a_block_has_threads() -> None:
    for name in ("lstm", "lstm_layernorm"):
        made = compiled(name)
        module: Any = backend.load(made.source, f"large_{name}")
        reference: Any = pipeline.load(name)
        x = np.random.default_rng(0).standard_normal((3, 300, 4))
        p = module.Parameters.initialize(features=4, hidden=300, dtype=np.float64, seed=0)
        q = reference.Parameters.initialize(features=4, hidden=300, dtype=np.float64, seed=0)
        for one, other in zip(_passes(module, p, x, None), _passes(reference, q, x, None), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * np.max(np.abs(other)))


@pytest.mark.parametrize(
    ("there", "level"),
    [
        ({"available": True, "has_nvrtc": True}, "host"),
        ({"available": False, "has_nvrtc": True}, "compiled"),
        ({"available": False, "has_nvrtc": False}, "derivation"),
    ],
)
def test_the_report_says_at_which_level_a_module_is_proven(
    there: dict[str, bool], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cupy_module, "has_device", lambda: False)
    monkeypatch.setattr(cupy_module, "has_nvrtc", lambda: there["has_nvrtc"])
    monkeypatch.setattr(host, "available", lambda: there["available"])
    checked: list[str] = []
    monkeypatch.setattr(type(backend), "check", lambda self, source: checked.append(source))
    made = compiled("rnn")
    report = pipeline.prove(made)
    assert report.level == level
    assert f"proof at level {level}" in str(report)
    assert checked == ([made.source] if level == "compiled" else [])
    with pytest.raises(UserError, match=f"at level '{level}', not 'device'"):
        pipeline.prove(made, "device")
