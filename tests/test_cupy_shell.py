"""The shell of generated modules for CuPy, around kernels that NumPy computes.

No GPU is needed: a stand-in takes the place of CuPy. Its arrays lie in the host's memory, but keep CuPy's rules: what
is NumPy's is refused where a GPU would have to read it, arrays lie on one of two devices, and none is read-only.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import functools
import io
import pickle
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from lstmgen import finding, pipeline
from lstmgen.backends.base import Provenance
from lstmgen.backends.numpy import backend as numpy_backend
from lstmgen.backends.numpy.module import _bodies as numpy_bodies
from lstmgen.backends.shell import CUPY, load_source, module_text
from lstmgen.calculus.reverse import Gradient
from lstmgen.schedule.work import Schedule
from lstmgen.testing import BACKEND_CHECKS, check_backend, coverage_cells, plain_cells

# -- a stand-in for CuPy ----------------------------------------------------------------------------------------------


class DeviceArray(np.ndarray):
    """An array that pretends to lie on a device, which NumPy's functions do not read."""

    def __array_finalize__(self, source: Any) -> None:
        self._device = source._device if isinstance(source, DeviceArray) else Device.current

    @property
    def device(self) -> str:
        return self._device

    @property
    def flags(self) -> Any:
        return types.SimpleNamespace(c_contiguous=super().flags.c_contiguous)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        arrays = [each for each in (*inputs, *out) if isinstance(each, np.ndarray)]
        if any(each.ndim and not isinstance(each, DeviceArray) for each in arrays):
            raise TypeError(f"{ufunc.__name__}: unsupported type numpy.ndarray")
        plain = {"out": tuple(each.view(np.ndarray) for each in out)} if out else {}
        views = [each.view(np.ndarray) if isinstance(each, DeviceArray) else each for each in inputs]
        result = getattr(ufunc, method)(*views, **plain, **options)
        return out[0] if out else on_device(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if np.ndarray in types and not any(type(each) is np.ndarray and each.size == 1 for each in arguments):
            raise TypeError(f"{function.__name__}: unsupported type numpy.ndarray")
        return on_device(super().__array_function__(function, types, arguments, options))

    def copy(self, order: Any = "C") -> DeviceArray:
        made: DeviceArray = super().copy(order)
        made._device = Device.current
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (cupy.asarray, (cupy.asnumpy(self),))


class Device:
    """Which of the devices is the current one."""

    current = "device 0"


@contextmanager
def on(device: str) -> Iterator[None]:
    before, Device.current = Device.current, device
    try:
        yield
    finally:
        Device.current = before


def on_device(value: Any) -> Any:
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


class Foreign:
    """An array of another library on the GPU, which speaks DLPack or CUDA's array interface."""

    def __init__(self, array: np.ndarray, *, dlpack: bool, device: str = "device 0", fails: bool = False) -> None:
        self.array, self.fails = array, fails
        with on(device):
            self.memory = array.view(DeviceArray)
        if dlpack:
            self.__dlpack_device__ = lambda: (2, 0)
        else:
            self.__cuda_array_interface__ = {"version": 3}


def share(value: Any) -> DeviceArray:
    if value.fails:
        raise BufferError("it requires a gradient")
    return value.memory


def asarray(value: Any, dtype: Any = None) -> DeviceArray:
    if isinstance(value, Foreign):
        return share(value)
    if isinstance(value, DeviceArray):
        return value if dtype in (None, value.dtype) else value.astype(dtype)
    return np.array(value, dtype).view(DeviceArray)


class StandIn(types.ModuleType):
    """NumPy's functions under the name of CuPy, with arrays of its own."""

    ndarray = DeviceArray
    asarray = staticmethod(asarray)
    from_dlpack = staticmethod(share)

    @staticmethod
    def asnumpy(array: np.ndarray) -> np.ndarray:
        return np.array(array, subok=False)

    @staticmethod
    def ascontiguousarray(array: DeviceArray) -> DeviceArray:
        assert isinstance(array, DeviceArray)
        return array if array.flags.c_contiguous else array.copy()

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        if isinstance(function, type | np.ufunc) or not callable(function):
            return function

        return lambda *arguments, **options: on_device(function(*arguments, **options))


cupy = StandIn("cupy")


class Runtime(types.ModuleType):
    """The runtime beside a module, as far as these modules use it."""

    class Kernels:
        def __init__(self, module: str, source: str) -> None:
            self.module, self.source = module, source


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "_cupy_runtime", Runtime("_cupy_runtime"))


# -- a back end of the shell and NumPy's kernels ----------------------------------------------------------------------


def as_cupy(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Lines for NumPy as those for CuPy."""
    constants = [re.sub(r'(_CONSTANTS\["\w+"\])', r"np.asarray(\1)", line) for line in lines]
    return tuple(line.replace("np.", "cp.") for line in constants)


def helpers(text: str) -> Iterator[str]:
    """The functions for kernels that only modules for NumPy have."""
    for node in ast.parse(text).body:
        names = {getattr(node, "name", ""), *(getattr(each, "id", "") for each in getattr(node, "targets", ()))}
        if names & {"_transpose", "_erf", "_ERFC_COEFFICIENTS"}:
            yield from (ast.get_source_segment(text, node) or "").replace("np.", "cp.").splitlines()


class ShellBackend:
    """Emits modules for CuPy, with NumPy's kernels."""

    name = "shell"
    target = dataclasses.replace(numpy_backend.target, name="shell")

    def emit(self, gradient: Gradient, schedule: Schedule, provenance: Provenance, module: str) -> Mapping[str, str]:
        bodies = numpy_bodies(gradient, schedule)
        fields = ("forward_arrays", "forward", "backward_arrays", "backward", "rebuild_arrays", "rebuild")
        (text,) = numpy_backend.emit(gradient, schedule, provenance, module).values()
        sections = (
            *helpers(text),
            "",
            "# The kernels.",
            '_SOURCE = ""',
            f'_KERNELS = _runtime.Kernels("{module}", _SOURCE)',
        )
        lines = {name: as_cupy(getattr(bodies, name)) for name in fields}
        made = dataclasses.replace(bodies, kind="for CUDA", arrays=CUPY, sections=sections, **lines)
        return {f"{module}.py": module_text(gradient, provenance, made)}

    def kernels(self, gradient: Gradient, schedule: Schedule) -> str:
        return numpy_backend.kernels(gradient, schedule)

    def load(self, source: str, module: str) -> types.ModuleType:
        return load_source(source, module)

    def levels(self) -> tuple[str, ...]:
        return ("host",)

    def to_device(self, array: np.ndarray) -> Any:
        return cupy.asarray(array)

    def to_host(self, array: Any) -> np.ndarray:
        return cupy.asnumpy(array)


backend = ShellBackend()
IN_ANOTHER_PROCESS = ("equal bytes",)  # where there is no stand-in


@pytest.mark.parametrize("check", [check for check in BACKEND_CHECKS if check not in IN_ANOTHER_PROCESS])
def test_the_shell_keeps_the_contract(check: str) -> None:
    check_backend(backend, only=[check], cells=(*plain_cells, *coverage_cells[:2]))


class HostBackend(ShellBackend):
    """The same back end where kernels run on the host: there, NumPy's arrays take the place of CuPy's."""

    def to_device(self, array: np.ndarray) -> Any:
        return array

    to_host = to_device


def numpy_as_cupy() -> types.ModuleType:
    made = types.ModuleType("cupy")
    made.__dict__.update(vars(np), __name__="cupy", asnumpy=np.asarray)
    return made


@pytest.mark.parametrize("check", ["proofs", "any layout", "residuals hold", "wrong arguments are refused"])
def test_the_shell_keeps_the_contract_on_the_host(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", numpy_as_cupy())
    check_backend(HostBackend(), only=[check], cells=plain_cells)


# -- what differs from modules for NumPy ------------------------------------------------------------------------------


@functools.cache
def source(cell: str = "lstm") -> str:
    return pipeline.compile_cell(finding.find_cell(cell), backend, {}).source


@pytest.fixture
def lstm() -> Iterator[Any]:
    yield load_source(source(), "_lstm_shell")
    sys.modules.pop("_lstm_shell")


@pytest.fixture
def p(lstm: Any) -> Any:
    return lstm.Parameters.initialize(features=2, hidden=3, dtype=np.float64, seed=0)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def test_the_source_of_kernels_stands_after_the_functions_that_use_it(lstm: Any) -> None:
    text = source()
    assert lstm._KERNELS.module == "lstm_shell"
    assert text.index("\ndef _backward(") < text.index("\n_SOURCE = ") < text.index("\n_DIMS: ")


def test_parameters_lie_on_the_device_and_start_as_in_numpy(p: Any) -> None:
    from generated import lstm_numpy

    expected = lstm_numpy.Parameters.initialize(features=2, hidden=3, dtype=np.float64, seed=0)
    assert isinstance(p.flat, DeviceArray)
    assert isinstance(p.W_f, DeviceArray)
    assert np.array_equal(cupy.asnumpy(p.flat), expected.flat)


def test_parameters_are_assigned_from_the_host_the_device_and_other_libraries(p: Any) -> None:
    for value in (np.full((3, 2), 1.0), cupy.asarray(np.full((3, 2), 2.0)), [[3, 3]] * 3):
        p.W_f = value
        assert np.array_equal(cupy.asnumpy(p.W_f), np.asarray(cupy.asnumpy(cupy.asarray(value))))
    p.W_f = Foreign(np.full((3, 2), 4.0), dlpack=True)
    assert cupy.asnumpy(p.W_f).tolist() == [[4.0, 4.0]] * 3
    with pytest.raises(TypeError, match="W_f: expected float64, got object"):
        p.W_f = np.full((3, 2), None)


def test_a_flat_buffer_is_an_array_on_the_device(lstm: Any, p: Any) -> None:
    with pytest.raises(TypeError, match=r"flat: expected a cupy\.ndarray .* got a numpy\.ndarray of float64"):
        lstm.Parameters(cupy.asnumpy(p.flat), p.sizes)
    with pytest.raises(ValueError, match="flat: expected a contiguous array"):
        lstm.Parameters(cupy.asarray(np.zeros(2 * p.flat.size))[::2], p.sizes)


def test_parameters_go_through_files_dicts_and_pickles_as_numpy_arrays(lstm: Any, p: Any) -> None:
    arrays = p.to_dict()
    assert {type(array) for array in arrays.values()} == {np.ndarray}
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file) as archive:
        loaded = lstm.Parameters.from_dict(archive)
    on_devices = lstm.Parameters.from_dict({name: cupy.asarray(array) for name, array in arrays.items()})
    with on("device 1"):
        elsewhere = [pickle.loads(pickle.dumps(p)), copy.copy(p)]
    for twin in (loaded, on_devices, *elsewhere):
        assert isinstance(twin.flat, DeviceArray)
        assert np.array_equal(cupy.asnumpy(twin.flat), cupy.asnumpy(p.flat))
    assert elsewhere[0].flat.device == "device 1"


def calls(lstm: Any, p: Any) -> dict[str, tuple[Callable[[Any], Any], Any]]:
    """Every argument that is an array: a call that gives it a value, and a good value."""
    x, h = cupy.asarray(draw(4, 2, 2)), cupy.asarray(draw(2, 3))
    _, _, residuals = lstm.forward(p, x)
    return {
        "x": (lambda value: lstm.forward(p, value), x),
        "x (infer)": (lambda value: lstm.infer(p, value), x),
        "x_t": (lambda value: lstm.step(p, value), x[0]),
        "initial.c": (lambda value: lstm.forward(p, x, initial=lstm.State(c=value)), h),
        "state.h": (lambda value: lstm.step(p, x[0], state=lstm.State(h=value)), h),
        "d_outputs": (lambda value: lstm.backward(p, residuals, value), cupy.asarray(draw(4, 2, 3))),
        "d_final.h": (lambda value: lstm.backward(p, residuals, d_final=lstm.State(h=value)), h),
    }


ARGUMENTS = ["x", "x (infer)", "x_t", "initial.c", "state.h", "d_outputs", "d_final.h"]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arrays_on_the_host_are_refused_with_what_to_do(lstm: Any, p: Any, argument: str) -> None:
    call, value = calls(lstm, p)[argument]
    name = argument.split()[0]
    with pytest.raises(TypeError) as caught:
        call(cupy.asnumpy(value))
    assert str(caught.value) == (
        f"{name}: expected an array on the GPU, a cupy.ndarray, got a numpy.ndarray of float64; "
        f"copy it there with cupy.asarray({name})"
    )
    with pytest.raises(TypeError, match=rf"{name}: expected an array on the GPU, a cupy.ndarray, got str$"):
        call("zeros")


@pytest.mark.parametrize("dlpack", [True, False])
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arrays_of_other_libraries_are_taken_as_they_lie(lstm: Any, p: Any, argument: str, dlpack: bool) -> None:
    call, value = calls(lstm, p)[argument]
    host = cupy.asnumpy(value)
    expected, found = call(value), call(Foreign(host, dlpack=dlpack))
    first = [each[0] if isinstance(each[0], DeviceArray) else each.parameters.flat for each in (expected, found)]
    assert np.array_equal(*map(cupy.asnumpy, first))
    with pytest.raises(TypeError, match=f"{argument.split()[0]}: .* Foreign: it requires a gradient"):
        call(Foreign(host, dlpack=dlpack, fails=True))


def test_arrays_of_other_libraries_are_not_copied(lstm: Any, p: Any) -> None:
    array = draw(4, 2, 2)
    for dlpack in (True, False):
        taken = lstm._taken("x", Foreign(array, dlpack=dlpack), p)
        assert np.shares_memory(taken.view(np.ndarray), array)
    laid = lstm._taken("x", Foreign(array.transpose(1, 0, 2), dlpack=True), p)
    assert laid.flags.c_contiguous
    assert np.array_equal(cupy.asnumpy(laid), array.transpose(1, 0, 2))


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arrays_on_another_device_are_refused(lstm: Any, p: Any, argument: str) -> None:
    call, value = calls(lstm, p)[argument]
    with on("device 1"):
        elsewhere = cupy.asarray(cupy.asnumpy(value))
    with pytest.raises(
        ValueError, match="expected an array on device 0, the device of the parameters, got one on device 1"
    ):
        call(elsewhere)


def test_parameters_and_residuals_on_another_device_are_refused(lstm: Any, p: Any) -> None:
    x = cupy.asarray(draw(4, 2, 2))
    _, _, residuals = lstm.forward(p, x)
    with on("device 1"):
        for call in (lambda: lstm.forward(p, x), lambda: lstm.step(p, x[0]), lambda: lstm.backward(p, residuals)):
            with pytest.raises(ValueError, match=r"p: expected parameters on device 1, the current device, got .* 0;"):
                call()
        twin = p.copy()
        with pytest.raises(ValueError, match=r"residuals: expected those of parameters on device 1, got .* 0"):
            lstm.backward(twin, residuals)


def test_a_workspace_serves_one_device_after_the_other(lstm: Any, p: Any) -> None:
    workspace = lstm.Workspace()
    lstm.forward(p, cupy.asarray(draw(4, 2, 2)), workspace=workspace)
    with on("device 1"):
        _, _, residuals = lstm.forward(p.copy(), cupy.asarray(draw(4, 2, 2)), workspace=workspace)
    assert {array.device for array in residuals._saved.values()} == {"device 1"}


def test_residuals_hand_out_copies(lstm: Any, p: Any) -> None:
    _, _, residuals = lstm.forward(p, cupy.asarray(draw(4, 2, 2)))
    before = cupy.asnumpy(lstm.backward(p, residuals, cupy.asarray(draw(4, 2, 3))).parameters.flat)
    for array in residuals.arrays.values():
        array[...] = np.nan
    after = cupy.asnumpy(lstm.backward(p, residuals, cupy.asarray(draw(4, 2, 3))).parameters.flat)
    assert np.array_equal(before, after)


def test_importing_a_module_touches_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"cupy.{name} while a module is imported")

    monkeypatch.setitem(sys.modules, "cupy", Absent("cupy"))
    for cell in ("lstm", "lmu"):  # one with constants too
        load_source(source(cell), "_imported_shell")
    sys.modules.pop("_imported_shell")
