"""Measures generated CuPy modules on a GPU, beside cuDNN and what PyTorch and JAX compile.

    python benchmarks/gpu.py

:mod:`.command` is the whole of it in order: the machine's constants (:mod:`.constants`), every cell against its
equations (:mod:`.accuracy`), then times (:mod:`.plan` says of what, :mod:`.measuring` takes them, :mod:`.station` is
where they are taken). Each library has a process of its own. With ``--host`` everything runs without a GPU at tiny
sizes, kernels on the stand-in for CuPy: that tries the program, not the speed.
"""
