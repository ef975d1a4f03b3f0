"""The contract of generated modules: parameters and their start values.

Each check takes one module, draws the arrays that it needs, and yields what is wrong. None of it knows how a module
comes to do what it does.
"""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from lstmgen.backends.base import Provenance
from lstmgen.declare.declaration import Constant, Uniform
from lstmgen.schedule.plan import schedule
from lstmgen.testing.trial import Made, sizes_of, writeable


def parameters_are_one_buffer(made: Made) -> Iterator[str]:
    """All parameters lie in one flat buffer: equal dimensions side by side, in declared order."""
    trial, declaration = made.draw(), made.compiled.declaration
    p = trial.p
    dims: dict[tuple[str, ...], list[str]] = {}
    for parameter in declaration.parameters:
        dims.setdefault(parameter.value.dims, []).append(parameter.value.name)
    names = tuple(name for group in dims.values() for name in group)
    if tuple(p.names) != names:
        yield f"names are {tuple(p.names)}, not {names}"
        return
    sizes = sizes_of(made.compiled.gradient)
    for parameter in declaration.parameters:
        shape = tuple(sizes[dim] for dim in parameter.value.dims)
        if getattr(p, parameter.value.name).shape != shape:
            yield f"{parameter.value.name} has the shape {getattr(p, parameter.value.name).shape}, not {shape}"
    if p.flat.ndim != 1 or not p.flat.flags.c_contiguous or not writeable(p.flat):
        yield "flat is no contiguous, writable vector"
    to_device, to_host = made.transfer.to_device, made.transfer.to_host
    p.flat[...] = to_device(np.arange(p.flat.size))
    found = np.concatenate([np.zeros(0), *(np.ravel(to_host(getattr(p, name))) for name in names)])
    if found.tolist() != list(range(p.flat.size)):
        yield "the arrays in order of names are not the flat buffer"
    for name in names:
        place = getattr(p, name)
        given = to_device(np.full(place.shape, -1.0))
        setattr(p, name, given)
        if not np.all(getattr(p, name) == -1.0) or not np.shares_memory(getattr(p, name), p.flat):
            yield f"assigning to {name} does not copy into the flat buffer"
        if np.shares_memory(getattr(p, name), given):
            yield f"assigning to {name} keeps the array that was given"
        for wrong in ((*place.shape, 1), (2, *place.shape)):
            try:
                setattr(p, name, np.zeros(wrong))
            except (TypeError, ValueError) as error:
                if name not in str(error):
                    yield f"assigning an array of another shape to {name} is refused without naming it: {error}"
            else:
                yield f"assigning an array of shape {wrong} to {name} of shape {place.shape} is accepted"


def parameters_survive_copying(made: Made) -> Iterator[str]:
    """copy, deepcopy, pickle, and from_dict of to_dict or a file give equal parameters, with a buffer of their own."""
    trial = made.draw()
    p = trial.p
    ways: dict[str, Callable[[Any], Any]] = {
        "copy()": lambda q: q.copy(),
        "copy.copy": copy.copy,
        "copy.deepcopy": copy.deepcopy,
        "pickle": lambda q: pickle.loads(pickle.dumps(q)),
        "from_dict(to_dict())": partial(_through_a_dict, made.module),
        "from_dict of an .npz file": partial(_through_a_file, made.module),
    }
    for way, clone in ways.items():
        try:
            twin = clone(p)
        except Exception as error:
            yield f"{way} raises {type(error).__name__}: {error}"
            continue
        if type(twin) is not type(p) or twin.sizes != p.sizes or twin.dtype != p.dtype:
            yield f"{way} gives {twin!r} for {p!r}"
        elif not np.array_equal(twin.flat, p.flat):
            yield f"{way} changes values"
        elif p.flat.size:
            before = p.flat.copy()
            twin.flat[...] += 1.0
            if not np.array_equal(p.flat, before):
                yield f"{way} shares the buffer of the original"
                p.flat[...] = before
            name = p.names[0]
            if not np.shares_memory(getattr(twin, name), twin.flat):
                yield f"after {way}, {name} is no part of the flat buffer"
    zeros = p.zeros_like()
    if np.any(zeros.flat) or zeros.sizes != p.sizes or zeros.dtype != p.dtype or np.shares_memory(zeros.flat, p.flat):
        yield "zeros_like() is not zeros of the same sizes and dtype in a buffer of its own"


def start_values(made: Made) -> Iterator[str]:
    """Start values are as declared, depend on the seed alone, and are the same in every back end."""
    from lstmgen.backends.numpy import backend as reference

    compiled, module = made.compiled, made.module
    sizes = made.draw().p.sizes._asdict()
    initialize = module.Parameters.initialize
    p = initialize(**sizes, dtype=np.float64, seed=3)
    if initialize(**sizes, seed=3).dtype != np.float32:
        yield "the dtype is float32 unless given"
    if not np.array_equal(initialize(**sizes, dtype=np.float64, seed=3).flat, p.flat):
        yield "equal seeds give different values"
    single = initialize(**sizes, dtype=np.float32, seed=3).flat
    if not np.array_equal(single, p.flat.astype(np.float32)):
        yield "float32 values are not the float64 ones, rounded"
    for parameter in compiled.declaration.parameters:
        values = getattr(p, parameter.value.name)
        match parameter.init:
            case Constant(value) if not np.all(values == value):
                yield f"{parameter.value.name} does not start at {value}"
            case Uniform(bound) if not np.all(np.abs(values) <= bound):
                yield f"{parameter.value.name} starts beyond ±{bound}"
    planned = schedule(compiled.gradient, reference.target)
    provenance = Provenance("", compiled.declaration.name, "", "")
    name = "_lstmgen_testing_start_values"
    (text,) = reference.emit(compiled.gradient, planned, provenance, name).values()
    try:
        other = reference.load(text, name)
        expected = other.Parameters.initialize(**sizes, dtype=np.float64, seed=3).flat
        if not np.array_equal(expected, made.transfer.to_host(p.flat)):
            yield "equal seeds give other values than in the NumPy back end"
    finally:
        sys.modules.pop(name, None)


def _through_a_dict(module: ModuleType, p: Any) -> Any:
    arrays = {name: np.asarray(array, order="F") for name, array in p.to_dict().items()}
    for array in arrays.values():
        array.flags.writeable = False
    return module.Parameters.from_dict(dict(reversed(arrays.items())), **unseen_sizes(module, p))


def _through_a_file(module: ModuleType, p: Any) -> Any:
    file = io.BytesIO()
    np.savez(file, **p.to_dict())
    file.seek(0)
    with np.load(file) as archive:
        return module.Parameters.from_dict(archive, **unseen_sizes(module, p))


def unseen_sizes(module: ModuleType, p: Any) -> dict[str, int]:
    """The sizes that ``from_dict`` cannot read off the arrays and takes by keyword."""
    taken = inspect.signature(module.Parameters.from_dict).parameters
    return {name: size for name, size in p.sizes._asdict().items() if name in taken}
