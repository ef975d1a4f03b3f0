"""Kernels as lines of Python on arrays of a NumPy-like library: what back ends for NumPy and CuPy have in common."""
