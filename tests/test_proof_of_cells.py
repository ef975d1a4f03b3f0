"""Every trial cell through the whole pipeline: it builds, its proof passes, and its module works at the edges."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trial_cells import CASES, named, random_cell
from trial_modules import chunked, compiled, made

from lstmgen import files, pipeline
from lstmgen.backends.numpy import backend
from lstmgen.calculus.interpreter import derived_sizes, size_names
from lstmgen.calculus.unroll import run, run_adjoint
from lstmgen.declare.symbols import Value
from lstmgen.errors import DeclarationError, UserError
from lstmgen.verify.proof import run_module
from lstmgen.verify.report import Report
from lstmgen.verify.sample import draw

ROOT = Path(__file__).parent.parent

ALL = pytest.mark.parametrize("label", CASES)


@ALL
def test_proof_passes(label: str) -> None:
    report = pipeline.prove(compiled(label))
    assert report.passed
    assert report.entries == sum(np.prod(each.shape, dtype=int) for each in report.differenced)


@pytest.mark.parametrize("seed", range(100))
def test_random_cells(seed: int) -> None:
    """Emitted code against the interpreter, for cells that nobody would think of."""
    each = pipeline.compile_cell(random_cell(seed), backend, {})
    try:
        sample = draw(each.gradient)
    except UserError:
        pytest.skip("no sample stays clear of its kinks")
    name = f"_random_{each.module}"
    module = backend.load(each.source, name)
    sys.modules.pop(name)
    outputs, final = sample.trajectory.outputs, sample.trajectory.final
    adjoints = run_adjoint(each.gradient, sample.sizes, sample.trajectory, sample.d_outputs, sample.d_final)
    expected = {
        f"{word} {name}": array for word in ("output", "inferred", "stepped") for name, array in outputs.items()
    }
    expected |= {f"{word} {name}": array for word in ("final", "inferred final") for name, array in final.items()}
    expected |= {f"d_{name}": array for name, array in {**adjoints.parameters, **adjoints.inputs}.items()}
    expected |= {f"d_initial {name}": array for name, array in adjoints.initial.items()}
    for policy, rows, steps in (("save", 512, 8), ("save", 1, 3), ("recompute", 1, 3)):
        with chunked(module, rows, steps):
            _close(run_module(module, sample, np.float64, policy), expected, 1e-11)


# -- names -------------------------------------------------------------------------------------------------------------

NAMES = ["t", "p", "steps", "batch", "saved", "x_t", "out", "k", "z", "step", "parameters", "fi"]
NAMES += ["final", "erf", "State", "scratch0", "stack2", "CONSTANTS"]
NAMES += ["chunks", "windows", "now", "half", "temporary0", "given_x0", "s0_x0_one", "half_a_gate", "dv_da_gate"]
ROLES = ("value", "state", "parameter", "input", "dimension", "constant", "step index")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_works_or_is_refused(role: Any, name: str) -> None:
    """A name that generated code needs itself is either declared reserved, with a hint, or does no harm."""
    try:
        built = pipeline.compile_cell(named(name, role), backend, {})
    except DeclarationError as error:
        assert {each.code for each in error.diagnostics} <= {"LG108", "LG110"}
        assert all(each.hint for each in error.diagnostics)
    else:
        assert pipeline.prove(built).passed


# -- edges -------------------------------------------------------------------------------------------------------------


class Run:
    """One forward and backward of a cell's module, and the same by the interpreter."""

    def __init__(self, label: str, *, steps: int, rows: int, size: int = 2, dtype: Any = np.float64) -> None:
        self.compiled, self.module = compiled(label), made(label).module
        declaration, primal = self.compiled.declaration, self.compiled.primal
        names = size_names(declaration, primal)
        # Sizes differ, so that exchanged axes are noticed; of size one they cannot.
        self.sizes = {name: size + (k % 3 if size > 1 else 0) for k, name in enumerate(names)}
        self.sizes |= declaration.fixed_sizes
        for dim, parts in derived_sizes(primal).items():
            self.sizes[dim] = int(np.prod([self.sizes[part] for part in parts]))
        random = np.random.default_rng(2)

        def draw(value: Value, *lead: int) -> Any:
            return random.standard_normal((*lead, *(self.sizes[dim] for dim in value.dims))).astype(dtype)

        self.p = self.module.Parameters.initialize(**{name: self.sizes[name] for name in names}, dtype=dtype, seed=1)
        self.inputs = {value.name: draw(value, steps, rows) for value in declaration.inputs}
        self.initial = {state.name: draw(state.next, rows) for state in declaration.states}
        self.d_outputs = {value.name: draw(value, steps, rows) for value in declaration.outputs}
        self.d_final = {state.name: draw(state.next, rows) for state in declaration.states}
        outputs, final, self.residuals = self.module.forward(
            self.p, *self.inputs.values(), initial=self.module.State(**self.initial)
        )
        several = len(self.d_outputs) > 1
        self.outputs = dict(zip(self.d_outputs, outputs if several else (outputs,), strict=True))
        self.final = final._asdict()
        self._seeds = self.module.Outputs(**self.d_outputs) if several else self.d_outputs[declaration.outputs[0].name]

    def backward(self) -> dict[str, Any]:
        gradients = self.module.backward(self.p, self.residuals, self._seeds, d_final=self.module.State(**self.d_final))
        found = {name: getattr(gradients.parameters, name) for name in self.p.names}
        found |= gradients.inputs._asdict()
        return found | {f"initial {name}": array for name, array in gradients.initial._asdict().items()}

    def expected(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Outputs, final states and gradients by the interpreter, in float64."""
        wide = [
            {name: np.asarray(array, float) for name, array in group.items()}
            for group in (self.p.to_dict(), self.inputs, self.initial, self.d_outputs, self.d_final)
        ]
        gradient = self.compiled.gradient
        trajectory = run(gradient.declaration, gradient.primal, self.sizes, *wide[:3])
        adjoints = run_adjoint(gradient, self.sizes, trajectory, *wide[3:])
        found = {**adjoints.parameters, **adjoints.inputs}
        found |= {f"initial {name}": array for name, array in adjoints.initial.items()}
        return trajectory.outputs, trajectory.final, found


def _close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.shape == expected[name].shape, name
        scale = max(1.0, float(np.max(np.abs(expected[name]), initial=0.0)))
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


@ALL
@pytest.mark.parametrize(
    ("extent", "tolerance"),
    [
        pytest.param({"steps": 1, "rows": 1, "size": 1}, 1e-12, id="ones"),
        pytest.param({"steps": 3, "rows": 1, "size": 3}, 1e-12, id="one-row"),
        pytest.param({"steps": 0, "rows": 2}, 1e-12, id="no-steps"),
        pytest.param({"steps": 2, "rows": 0}, 1e-12, id="no-rows"),
        pytest.param({"steps": 2, "rows": 3, "dtype": np.float32}, 3e-4, id="float32"),
    ],
)
def test_edges_against_the_interpreter(label: str, extent: dict[str, Any], tolerance: float) -> None:
    ran = Run(label, **extent)
    outputs, final, gradients = ran.expected()
    _close(ran.outputs, outputs, tolerance)
    _close(ran.final, final, tolerance)
    found = ran.backward()
    _close(found, gradients, tolerance)
    arrays = [*ran.outputs.values(), *ran.final.values(), *found.values()]
    assert all(array.dtype == extent.get("dtype", np.float64) for array in arrays)


@ALL
def test_backward_may_run_twice(label: str) -> None:
    """Nothing that backward reads is changed by it: not the residuals, not what was passed in."""
    ran = Run(label, steps=3, rows=2)
    kept = {name: array.copy() for name, array in ran.residuals.arrays.items()}
    first = ran.backward()
    for name, array in kept.items():
        np.testing.assert_array_equal(ran.residuals.arrays[name], array)
    second = ran.backward()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


# -- the emitted text --------------------------------------------------------------------------------------------------

REPRESENTATIVE = ("peephole_lstm", "matrix_memory", "functions", "outputs")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("generated")
    for label in REPRESENTATIVE:
        files.write_files(folder, compiled(label).files)
    return sorted(map(str, folder.iterdir()))


def _passes(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("ruff") is None and find_spec("ruff") is None, reason="ruff is not installed")
def test_emitted_modules_pass_ruff(written: list[str]) -> None:
    ignored = "N802,N803,N806"  # as pyproject.toml has it for the folder of generated modules
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", "--ignore", ignored]
    _passes([sys.executable, "-m", "ruff", "check", *config, *written])


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_emitted_modules_pass_mypy(written: list[str], tmp_path: Path) -> None:
    _passes([sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", *written])


def test_a_report_reads_as_a_table() -> None:
    report: Report = pipeline.prove(compiled("gru"))
    text = str(report)
    for tensor in ("output h", "final h", "d_W_z", "d_x", "d_initial h"):
        assert [line.split("  ")[0] for line in text.splitlines()].count(tensor) == 1
    assert "FAILED" not in text
    assert text.splitlines()[-1].startswith("proven in ")
    assert report.summary.startswith(f"gru for numpy: proven at level device; {report.entries} gradient entries")
