"""What NVRTC makes of a module's kernels: for every architecture and dtype, the registers they take and what spills.

It needs CuPy and NVRTC, but no GPU.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lstmgen.errors import InternalError

ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
REALS = ("float", "double")


@dataclass(frozen=True)
class CompiledKernel:
    """One kernel for one architecture and dtype; ``spilled`` and ``shared`` are bytes."""

    name: str
    architecture: str
    real: str
    registers: int
    spilled: int
    shared: int


def compiled_kernels(
    module: str,
    text: str,
    architectures: Sequence[str] = ARCHITECTURES,
    reals: Sequence[str] = REALS,
) -> Iterator[CompiledKernel]:
    """Every kernel of a generated module's text, compiled.

    Raises the runtime's ``CompileError`` for a source that does not compile, with the line and its equation.
    """
    runtime: Any = import_module("lstmgen.backends.cupy._cupy_runtime")
    source = cuda_source_of(text)
    for architecture in architectures:
        for real in reals:
            _, log = runtime.compile_cubin(source, module, architecture, real)
            for name, found in sorted(runtime.resources(log).items()):
                spilled = found.spill_stores + found.spill_loads
                yield CompiledKernel(name, architecture, real, found.registers, spilled, found.shared)


def cuda_source_of(text: str) -> str:
    """The CUDA C++ in a generated module's text."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_SOURCE":
            return str(ast.literal_eval(node.value))
    raise InternalError("the module has no _SOURCE")
