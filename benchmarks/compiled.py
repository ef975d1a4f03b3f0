"""One table of what NVRTC makes of every built-in cell's CUDA kernels: registers, shared memory, spills. No GPU needed.

    python benchmarks/compiled.py [--out FILE] [CELL...]

Kernels are compiled for each architecture that is supported, in float32 and in float64. The numbers of a cell are those
of its most demanding kernel. Ends with 1 if a value spills to memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from lstmgen import pipeline, plugins
from lstmgen.backends.cupy import backend
from lstmgen.backends.cupy.compiled import ARCHITECTURES, REALS, compiled_kernels
from lstmgen.backends.cupy.module import has_nvrtc
from lstmgen.finding import find_cell


def row(name: str) -> tuple[str, ...]:
    """The columns of one cell."""
    made = pipeline.compile_cell(find_cell(name), backend, {})
    found = list(compiled_kernels(made.module, made.source))
    registers = [
        str(max(each.registers for each in found if (each.architecture, each.real) == (architecture, real)))
        for architecture in ARCHITECTURES
        for real in REALS
    ]
    kernels, shared = len({each.name for each in found}), max(each.shared for each in found)
    return (name, str(kernels), *registers, str(shared), str(sum(each.spilled for each in found)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cells", nargs="*", metavar="CELL")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    if not has_nvrtc():
        print('NVRTC is not installed: python -m pip install "cupy-cuda13x[ctk]"', file=sys.stderr)
        return 2
    from cupy.cuda import nvrtc

    names = arguments.cells or [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
    began = time.perf_counter()
    columns = [f"{architecture} {real}" for architecture in ARCHITECTURES for real in REALS]
    rows = [("cell", "kernels", *columns, "shared", "spilled"), *map(row, names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    version = ".".join(map(str, nvrtc.getVersion()))
    lines = [
        f"CUDA kernels of {len(names)} cells by NVRTC {version}: the most registers that a kernel of the cell takes,",
        "by architecture and type; the most shared memory; the bytes that spill, of all kernels together",
        "",
        *("  ".join(map(str.ljust, each, widths)).rstrip() for each in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(f"{text}\ncompiled in {time.perf_counter() - began:.0f} s")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")
    return int(any(each[-1] != "0" for each in rows[1:]))


if __name__ == "__main__":
    sys.exit(main())
