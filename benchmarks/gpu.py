"""Generated CuPy modules on a GPU: constants of the machine, every cell against its equations, and times.

    python benchmarks/gpu.py [--plan | --host] [--seconds N] [--cell NAME]... [--out FOLDER]

LSTM and GRU beside cuDNN in float32, TF32 and float16, PyTorch's eager and compiled loops and JAX's scan; cells that
cuDNN lacks beside the LSTM. Takes less than eight minutes, and says what there was no time for. Writes JSON, a table
and a plot to `benchmarks/results/cupy/`. Without a GPU it ends with 2; `--plan` prints what it would measure, `--host`
tries the whole program at tiny sizes without one.
"""

from __future__ import annotations

import sys

from lstmgen.bench.gpu.command import main

if __name__ == "__main__":
    sys.exit(main())
