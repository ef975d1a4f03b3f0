"""Other implementations of the same cells. Which there are is told without importing any of their libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmgen.bench.implementation import Implementation
from lstmgen.bench.peers import jax_scan, onnx_runtime, pytorch, tutorial
from lstmgen.bench.problem import Problem
from lstmgen.bench.subject import Subject


@dataclass(frozen=True)
class Peer:
    """An implementation by others. ``title`` is empty for a cell that it does not have.

    ``build`` runs in a process of its own, where the modules that it ``needs`` are imported.
    """

    key: str
    needs: tuple[str, ...]
    title: Callable[[Subject], str]
    build: Callable[[Subject, Problem], Implementation]
    dtypes: tuple[str, ...] = ("float32", "float64")


PEERS = (
    Peer("torch", ("torch",), pytorch.title, pytorch.build),
    Peer("onnxruntime", ("onnxruntime", "onnx"), onnx_runtime.title, onnx_runtime.build, ("float32",)),
    Peer("jax", ("jax",), jax_scan.title, jax_scan.build),
    Peer("tutorial", (), tutorial.title, tutorial.build),
)
