"""The CuPy back end: modules that launch CUDA kernels of their own, and one runtime file beside them."""

from lstmgen.backends.cupy.module import CupyBackend

backend = CupyBackend()
