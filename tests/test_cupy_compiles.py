"""Every kernel of every cell compiles for the devices that are supported, and keeps its values in registers."""

from __future__ import annotations

import pytest
from trial_cells import CASES

from lstmgen import finding, pipeline, plugins
from lstmgen.backends.cupy import backend
from lstmgen.backends.cupy.compiled import ARCHITECTURES, REALS, compiled_kernels
from lstmgen.backends.cupy.module import has_nvrtc

pytestmark = pytest.mark.skipif(not has_nvrtc(), reason="CuPy or NVRTC is not installed")

BUILT_IN = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]


@pytest.mark.parametrize("name", BUILT_IN)
def test_kernels_of_a_built_in_cell_compile_without_spills(name: str) -> None:
    made = pipeline.compile_cell(finding.find_cell(name), backend, {})
    found = list(compiled_kernels(made.module, made.source))
    assert {(each.architecture, each.real) for each in found} == {(a, r) for a in ARCHITECTURES for r in REALS}
    assert not [each for each in found if each.spilled]
    assert max(each.registers for each in found) <= 255


@pytest.mark.parametrize("label", CASES)
def test_kernels_of_a_trial_cell_compile(label: str) -> None:
    case = CASES[label]
    cell, options = case if isinstance(case, tuple) else (case, {})
    made = pipeline.compile_cell(cell, backend, options)
    assert list(compiled_kernels(made.module, made.source, ARCHITECTURES[1:2], REALS[:1]))
