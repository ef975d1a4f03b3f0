"""Arrays for kernels that run on the host: a stand-in for CuPy, on NumPy.

Every array that the stand-in makes lies between two margins. They are filled with signalling NaNs, different ones at
every place: whatever a kernel computes and writes there, it is not what was there before.
"""

from __future__ import annotations

import functools
import itertools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# More than a block of threads writes if nothing stops it.
_MARGIN = 4096


class Memory(bytearray):
    """The bytes of one array and its margins."""

    margins: tuple[bytes, bytes]

    def overrun(self) -> int | None:
        """The byte nearest the array that was written in its margins, which are mended; None if there is none.

        Counted from the array's end, or below zero from its begin.
        """
        before, after = self.margins
        if self[:_MARGIN] == before and self[-_MARGIN:] == after:
            return None
        last = max((place for place in range(_MARGIN) if self[place] != before[place]), default=None)
        first = min((place for place in range(_MARGIN) if self[place - _MARGIN] != after[place]), default=0)
        self[:_MARGIN], self[-_MARGIN:] = before, after
        return first if last is None else last - _MARGIN


_numbers = itertools.count()


def _margins(dtype: np.dtype[Any]) -> tuple[bytes, bytes]:
    """Signalling NaNs of this dtype, which depend on the place and on how many arrays were made before."""
    count = 2 * _MARGIN // dtype.itemsize
    places = np.arange(count, dtype=np.uint64) + np.uint64(count * next(_numbers))
    if dtype == np.float64:
        both = np.uint64(0x7FF4_0000_0000_0000) | places & np.uint64(0x3_FFFF_FFFF_FFFF)
    elif dtype == np.float32:
        both = (np.uint64(0x7FA0_0000) | places & np.uint64(0x1F_FFFF)).astype(np.uint32)
    else:
        return b"\xa5" * _MARGIN, b"\xa5" * _MARGIN
    text = both.tobytes()
    return text[:_MARGIN], text[_MARGIN:]


def empty(shape: Any, dtype: Any = float, order: str = "C") -> Array:
    """An array full of NaNs, between margins."""
    if order != "C":
        raise ValueError(f"order: expected 'C', got {order!r}")
    dtype = np.dtype(dtype)
    shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(length) for length in shape)
    size = math.prod(shape) * dtype.itemsize
    memory = Memory(2 * _MARGIN + size)
    memory.margins = _margins(dtype)
    memory[:_MARGIN], memory[_MARGIN + size :] = memory.margins
    array: Array = np.ndarray(shape, dtype, buffer=memory, offset=_MARGIN)
    if np.issubdtype(dtype, np.inexact):
        array.fill(np.nan)
    return array


def memory_of(array: Array) -> Memory | None:
    """The memory in which ``array`` lies, where it was made here."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, Memory) else None


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of NumPy, but what it makes lies between margins."""

    @functools.wraps(function)
    def made(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        if any(result is each for each in (*arguments, *keywords.values())):
            return result
        array = empty(result.shape, result.dtype)
        np.copyto(array, result)
        return array

    return made


def _empty_like(array: Array, dtype: Any = None) -> Array:
    return empty(array.shape, array.dtype if dtype is None else dtype)


def _einsum(subscripts: str, *operands: Array) -> Array:
    """CuPy's takes no ``out``."""
    return np.asarray(np.einsum(subscripts, *operands))


def _asnumpy(array: Any) -> Array:
    return np.array(array)


# fmt: off
_MAKERS = (
    "array", "asarray", "ascontiguousarray", "concatenate", "full", "full_like", "ones", "ones_like", "stack", "zeros",
    "zeros_like",
)

# What NumPy has and CuPy 14 has not.
_NOT_IN_CUPY = frozenset((
    "False_", "ScalarType", "True_", "asmatrix", "block", "bmat", "bytes_", "char", "character", "clongdouble", "core",
    "ctypeslib", "datetime64", "dtypes", "einsum_path", "emath", "errstate", "f2py", "flexible", "frompyfunc",
    "geomspace", "get_include", "getbufsize", "geterr", "geterrcall", "histogram_bin_edges", "info", "insert", "isnat",
    "little_endian", "longdouble", "ma", "matrix", "matvec", "memmap", "nanpercentile", "nanquantile", "ndenumerate",
    "nditer", "nested_iters", "object_", "polyder", "polydiv", "polyint", "rec", "recarray", "record", "sctypeDict",
    "setbufsize", "seterr", "seterrcall", "show_runtime", "spacing", "str_", "strings", "test", "timedelta64",
    "typecodes", "unstack", "vecdot", "vecmat", "void",
))
# fmt: on


class _Cupy(types.ModuleType):
    """Names that are not set come from NumPy, as far as CuPy has them."""

    def __getattr__(self, name: str) -> Any:
        if name in _NOT_IN_CUPY or name.startswith("_") or not hasattr(np, name):
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        return getattr(np, name)


class Stream:
    """A stream of a device that does everything at once."""

    null: Stream
    ptr = 0

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        pass

    def synchronize(self) -> None:
        """Nothing is under way."""

    def use(self) -> Stream:
        """There is no other stream to leave."""
        return self

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass


Stream.null = Stream(null=True)


class Device:
    """The one device."""

    id = 0

    def __init__(self, device: int | None = None) -> None:
        if device not in (None, 0):
            raise ValueError(f"device: the host has device 0 alone, got {device}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device)

    def __hash__(self) -> int:
        return 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __int__(self) -> int:
        return 0

    def use(self) -> Device:
        """There is no other device to leave."""
        return self

    def synchronize(self) -> None:
        """Nothing is under way."""


def cupy_stand_in() -> types.ModuleType:
    """What generated modules use of CuPy, on NumPy: an array of CuPy's is one of NumPy's."""
    cupy = _Cupy("cupy", "A stand-in for CuPy, on NumPy.")
    cuda = types.ModuleType("cupy.cuda")
    vars(cuda).update(
        Stream=Stream,
        Device=Device,
        get_current_stream=lambda: Stream.null,
        is_available=lambda: True,
        runtime=types.SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 1),
    )
    vars(cupy).update(
        {name: _guarded(getattr(np, name)) for name in _MAKERS},
        empty=empty,
        empty_like=_empty_like,
        asnumpy=_asnumpy,
        einsum=_einsum,
        get_array_module=lambda *_: cupy,
        cuda=cuda,
    )
    return cupy
