"""The CuPy back end on cells that nobody would think of: its kernels, run on the host, against the interpreter."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from trial_cells import random_cell
from trial_modules import chunked

from lstmgen import pipeline
from lstmgen.api import cell, max_over, maximum, minimum, sum_over, tanh
from lstmgen.backends.cupy import backend, host
from lstmgen.backends.cupy.compiled import compiled_kernels
from lstmgen.backends.cupy.functions import expression
from lstmgen.backends.cupy.module import has_nvrtc
from lstmgen.calculus.unroll import run_adjoint
from lstmgen.errors import UserError
from lstmgen.pipeline import Compiled
from lstmgen.schedule.kernel import Apply, Buffer, Ref, Use, View
from lstmgen.verify.sample import Sample, draw

pytestmark = pytest.mark.skipif(not host.available(), reason="there is no C++ compiler to run kernels on the host")


def device_array(array: Any) -> Any:
    return host.cupy_stand_in().array(array)


def loaded(made: Compiled) -> ModuleType:
    return host.load(made.source, made.module)


def expected(made: Compiled, sample: Sample) -> dict[str, Any]:
    trajectory = sample.trajectory
    adjoints = run_adjoint(made.gradient, sample.sizes, trajectory, sample.d_outputs, sample.d_final)
    found = {f"output {name}": array for name, array in trajectory.outputs.items()}
    found |= {f"final {name}": array for name, array in trajectory.final.items()}
    found |= {f"d_{name}": array for name, array in {**adjoints.parameters, **adjoints.inputs}.items()}
    return found | {f"d_initial {name}": array for name, array in adjoints.initial.items()}


def found(module: Any, sample: Sample, workspace: Any, policy: str = "save") -> dict[str, Any]:
    """What forward and backward give for new parameters in new places."""

    def on_device(arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: device_array(array) for name, array in arrays.items()}

    p = module.Parameters.initialize(**{name: sample.sizes[name] for name in module.Sizes._fields}, dtype=np.float64)
    for name, array in sample.parameters.items():
        setattr(p, name, array)
    start = {"start": sample.start} if sample.start else {}
    outputs, final, residuals = module.forward(
        p,
        *on_device(sample.inputs).values(),
        initial=module.State(**on_device(sample.initial)),
        residuals=policy,
        workspace=workspace,
        **start,
    )
    seeds = on_device(sample.d_outputs)
    several = len(seeds) > 1
    d_outputs = module.Outputs(**seeds) if several else next(iter(seeds.values()))
    gradients = module.backward(p, residuals, d_outputs, d_final=module.State(**on_device(sample.d_final)))
    results = {f"output {name}": outputs[k] if several else outputs for k, name in enumerate(seeds)}
    results |= {f"final {name}": getattr(final, name) for name in sample.initial}
    results |= {f"d_{name}": getattr(gradients.parameters, name) for name in sample.parameters}
    results |= {f"d_{name}": getattr(gradients.inputs, name) for name in sample.inputs}
    results |= {f"d_initial {name}": getattr(gradients.initial, name) for name in sample.initial}
    return {name: np.array(array) for name, array in results.items()}


def agree(made: Compiled) -> None:
    """Twice with one workspace, whole and in chunks, with other parameters and inputs: what the interpreter gives."""
    module, samples = loaded(made), [draw(made.gradient, seed=seed) for seed in (0, 1)]
    wanted = [expected(made, sample) for sample in samples]
    for policy, rows, steps in (("save", 512, 8), ("save", 1, 3), ("recompute", 1, 3)):
        with chunked(module, rows, steps):
            workspace = module.Workspace()
            for sample, right in zip(samples, wanted, strict=True):
                got = found(module, sample, workspace, policy)
                for name, array in right.items():
                    np.testing.assert_allclose(got[name], array, rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("seed", [*range(12), 5000, 5002])
def test_random_cells(seed: int) -> None:
    made = pipeline.compile_cell(random_cell(seed), backend, {})
    try:
        agree(made)
    except UserError:
        pytest.skip("no sample stays clear of its kinks")


def test_what_is_returned_stays_out_of_steps_that_a_graph_replays() -> None:
    """It lies elsewhere at every call, and beyond the first chunk not at its array's beginning."""

    @cell("direct")
    def direct(eq: Any) -> None:
        """An input whose gradient is elementwise and needs no step."""
        x, h_prev = eq.input("x", "hidden"), eq.state("h")
        h = eq.next("h", tanh(eq.parameter("U", "hidden", "hidden") @ h_prev))
        eq.output(eq.let("y", h + 2 * x))

    agree(pipeline.compile_cell(direct, backend, {}))


def test_many_reductions_at_once_fit_into_shared_memory() -> None:
    @cell("many_sums")
    def many_sums(eq: Any) -> None:
        """Products of one state with many vectors, none of which waits for another."""
        x, h_prev = eq.input("x", "hidden"), eq.state("h")
        total = 0
        for k in range(30):
            v = eq.let(f"v{k}", tanh(x * eq.parameter(f"p{k}", "hidden")))
            total = total + (k + 1) * eq.let(f"s{k}", h_prev @ v)
        eq.output(eq.next("h", tanh(total * x / 100)))

    made = pipeline.compile_cell(many_sums, backend, {})
    agree(made)
    if has_nvrtc():
        assert all(each.shared <= 48 << 10 for each in compiled_kernels(made.module, made.source))


def test_values_named_like_shared_arrays_and_macros() -> None:
    @cell("named_like_ours")
    def named_like_ours(eq: Any) -> None:
        """Names that kernels, or the C library, have for other things."""
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.let("shared_2", tanh(eq.affine("shared", W=x, U=h_prev)))
        b = eq.let("NULL", tanh(eq.affine("NAN", W=x)) * a)
        c = eq.let("M_PI", sum_over(b, "hidden") * eq.parameter("Complex", "hidden"))
        d = eq.let("Pragma", a * b + c * eq.let("y0", h_prev @ x_of(eq, x)))
        eq.output(eq.next("h", tanh(d)), a)

    def x_of(eq: Any, x: Any) -> Any:
        return eq.let("signbit", tanh(eq.parameter("norm", "hidden", "features") @ x))

    made = pipeline.compile_cell(named_like_ours, backend, {})
    agree(made)
    if has_nvrtc():
        assert list(compiled_kernels(made.module, made.source, ["sm_90"]))


def test_dimensions_named_like_locals_of_the_driver() -> None:
    @cell("dimensions")
    def dimensions(eq: Any) -> None:
        """Sizes that a step passes to a kernel, beside the index of the step."""
        x, h_prev = eq.input("x", "total"), eq.state("h", "t")
        g_prev = eq.state("g", "graph")
        g = eq.next("g", tanh(eq.affine("g", to="graph", W=x, U=h_prev) + g_prev))
        eq.output(eq.next("h", tanh(eq.affine("h", to="t", W=g, U=h_prev))))

    agree(pipeline.compile_cell(dimensions, backend, {}))


def test_what_is_not_a_number_stays_so() -> None:
    @cell("extremes")
    def extremes(eq: Any) -> None:
        """Every way to a maximum."""
        x, h_prev = eq.input("x", "hidden"), eq.state("h")
        table = eq.next("C", 0.5 * eq.state("C", "hidden", "key") + x)
        above = eq.let("above", maximum(1, x))
        below = eq.let("below", minimum(1, x))
        row = eq.let("row", max_over(x + 0 * h_prev, "hidden"))
        part = eq.let("part", max_over(table, "key"))
        eq.output(above, below, row, part, eq.next("h", 0.5 * h_prev))

    made = pipeline.compile_cell(extremes, backend, {})
    module = loaded(made)
    p = module.Parameters.initialize(hidden=4, key=3)
    for place in range(4):
        x = np.full((1, 2, 4), 0.5, np.float32)
        x[0, 1, place] = np.nan
        outputs, _ = module.infer(p, device_array(x))
        for name in ("above", "below", "part"):
            assert np.array_equal(np.isnan(getattr(outputs, name)), np.isnan(x)), name
        assert np.isnan(outputs.row).tolist() == [[False, True]]


def test_signs_in_a_row_are_no_decrement() -> None:
    x = View("x", Buffer("x", (), Use.SCRATCH), ())
    twice = Apply("negative", (Apply("negative", (Ref(x),)),))
    assert expression(twice, lambda view: view.name, str).text == "-(-x)"


def test_products_of_single_vectors_and_with_several_leading_axes_need_no_einsum() -> None:
    """CuPy's takes no place for its result, and cannot be captured in a graph."""

    @cell("vectors")
    def vectors(eq: Any) -> None:
        """Products of vectors that many matrices hold, of parameters and of states."""
        x, h_prev = eq.input("x"), eq.state("h", "layers", "heads", "head")
        blocks = eq.parameter("R", "layers", "heads", "head", "head")
        p, table = eq.parameter("p", "layers", "heads", "head"), eq.parameter("W", "layers", "heads", "features")
        drive = eq.let("drive", (table @ table) * (table @ x) + p @ h_prev + h_prev @ h_prev / 9)
        eq.output(eq.next("h", tanh(blocks @ h_prev + drive)))

    made = pipeline.compile_cell(vectors, backend, {})
    assert "einsum" not in made.source
    agree(made)


def test_einsum_has_no_place_for_its_result_on_the_host_either() -> None:
    with pytest.raises(TypeError):
        host.cupy_stand_in().einsum("a,a->", np.ones(2), np.ones(2), out=np.ones(()))
