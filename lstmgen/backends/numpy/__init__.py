"""The NumPy back end: modules that import NumPy and nothing else."""

from lstmgen.backends.numpy.module import NumpyBackend

backend = NumpyBackend()
