"""Looks at what lstmgen needs and finds: Python packages, plugins, and the parts that run kernels on a GPU.

Each function returns findings and prints nothing. A part that is missing is no error where lstmgen works without it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from lstmgen import plugins
from lstmgen.choices import LEVELS
from lstmgen.version import VERSION

WIDTH = 96
RUNTIME = Path(__file__).resolve().parent / "backends/cupy/_cupy_runtime.py"
"""What generated CuPy modules run on: a GPU is tried with the very code that they use."""


TOOLKIT = 'python -m pip install "cupy-cuda13x[ctk]" (cuda12x for CUDA 12)'
"""How to get the libraries that CuPy needs besides itself."""


class Health(StrEnum):
    """How a part is. Only what is broken stands in the way of lstmgen."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """A part, what was found of it, how it is, and what to do about it."""

    name: str
    found: str
    health: Health = Health.OK
    fix: str = ""


Section = tuple[str, Callable[[], Iterable[Finding]]]


def sections() -> tuple[Section, ...]:
    """Everything there is to look at: titles, and what looks when it is called."""
    return (("Packages", packages), ("Plugins", registered), ("Kernels on a GPU (optional)", gpu))


def text(finding: Finding) -> str:
    """A finding in aligned lines."""
    head = f"  {finding.health:<8} {finding.name:<13} "
    lines = textwrap.wrap(finding.found, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    if finding.fix:
        # Not broken where a command could be broken in two.
        lines.append(f"{' ' * len(head)}fix: {finding.fix}")
    return "\n".join(lines)


def verdict(findings: Iterable[Finding]) -> str:
    """What all findings together mean."""
    health = {each.health for each in findings}
    if Health.BROKEN in health:
        return "Something is broken: see above."
    if Health.MISSING in health:
        return "The NumPy back end works. What is missing is needed for kernels on a GPU alone."
    return "Everything works."


# -- packages ----------------------------------------------------------------------------------------------------------


def packages() -> Iterator[Finding]:
    """Python, lstmgen, and what it cannot do without."""
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    yield Finding("lstmgen", f"{VERSION}, {Path(__file__).resolve().parent}")
    yield numpy()
    for name, module in (("SymPy", "sympy"), ("Jinja", "jinja2"), ("click", "click")):
        yield _package(name, module)
    yield templates()


def numpy() -> Finding:
    """NumPy, whether it multiplies, and by which library."""
    found = _package("NumPy", "numpy")
    if found.health is not Health.OK:
        return found
    import numpy as np

    values = np.arange(64.0).reshape(8, 8)
    if not np.array_equal(values @ values, np.einsum("ij,jk->ik", values, values)):
        return Finding("NumPy", f"{np.__version__} multiplies wrongly", Health.BROKEN, "python -m pip install -U numpy")
    try:
        from lstmgen.bench.machine import Facts

        blas = Facts().blas()
    except Exception as error:  # how a NumPy tells its library has changed before
        blas = f"library unknown ({type(error).__name__})"
    return Finding("NumPy", f"{np.__version__}; {blas}")


def templates() -> Finding:
    """The templates of generated modules, which lie beside a checkout or in the installed package."""
    from lstmgen.templating import template_folders

    folders = [each for each in template_folders() if (each / "numpy").is_dir()]
    if not folders:
        fix = "python -m pip install --force-reinstall lstmgen"
        return Finding("templates", "there are none beside the package or in it", Health.BROKEN, fix)
    return Finding("templates", str(folders[0]))


def _package(name: str, module: str) -> Finding:
    try:
        import_module(module)
        return Finding(name, version(module))
    except PackageNotFoundError:
        return Finding(name, "version unknown: it was not installed by pip")
    except Exception as error:
        return Finding(name, _told(error), Health.BROKEN, f"python -m pip install --force-reinstall {module}")


# -- plugins -----------------------------------------------------------------------------------------------------------


def registered() -> Iterator[Finding]:
    """Cells, back ends, notations and formats: whether each loads and is what it is registered as."""
    for group in plugins.GROUPS:
        available = plugins.available(group)
        wrong = [(plugin, why) for plugin in available if (why := _wrong(plugin))]
        count = f"{len(available) - len(wrong)} of {len(available)} load"
        yield Finding(group, count if wrong or not available else f"{len(available)}, all load")
        for plugin, why in wrong:
            whose = " and ".join(plugin.packages)
            fix = f"uninstall one of {whose}" if plugin.conflict else f"repair or uninstall {whose}"
            yield Finding(group[:-1], f"{plugin.name}: {why}", Health.BROKEN, fix)
        if lost := declared().get(group, set()) - {plugin.name for plugin in available}:
            why = f"not registered, though pyproject.toml declares them: {', '.join(sorted(lost))}"
            yield Finding(group, why, Health.BROKEN, "python -m pip install -e .")


def declared() -> dict[str, set[str]]:
    """The names that a checkout declares, by group; empty where lstmgen is installed."""
    try:
        project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text("utf-8"))
        groups = project["project"]["entry-points"] if project["project"]["name"] == "lstmgen" else {}
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        return {}
    return {group.removeprefix("lstmgen."): set(names) for group, names in groups.items()}


def _wrong(plugin: plugins.Plugin) -> str:
    """What is wrong with a plugin; empty if nothing is. Imports it."""
    if why := plugins.broken(plugin):
        return why
    found = plugins.load(plugin.group, plugin.name)
    try:
        return _CHECKS[plugin.group](found, plugin.name)
    except Exception as error:
        return f"looking at it raises {_told(error)}"


def _wrong_cell(found: Any, name: str) -> str:
    from lstmgen.declare.cell import Cell

    if not isinstance(found, Cell):
        return f"its type is {type(found).__name__}, no cell"
    _ = found.options  # annotations are resolved here
    return _other_name(found.name, name)


def _wrong_backend(found: Any, name: str) -> str:
    lacks = [each for each in ("name", "target", "emit", "kernels", "load", "levels") if not hasattr(found, each)]
    if lacks:
        return f"its type is {type(found).__name__}, which lacks {', '.join(lacks)}"
    if unknown := [each for each in found.levels() if each not in LEVELS]:
        return f"it proves at levels that do not exist: {', '.join(map(str, unknown))}"
    return _other_name(found.name, name) or _other_name(found.target.name, name)


def _wrong_notation(found: Any, name: str) -> str:
    from lstmgen.derivation.notation import Notation

    if not isinstance(found, Notation):
        return f"its type is {type(found).__name__}, no notation"
    return _other_name(found.name, name)


def _wrong_format(found: Any, name: str) -> str:
    from lstmgen.derivation.format import Format

    return "" if isinstance(found, Format) else f"its type is {type(found).__name__}, no format"


def _other_name(found: object, name: str) -> str:
    return "" if found == name else f"it calls itself {found!r}"


_CHECKS: dict[str, Callable[[Any, str], str]] = {
    "cells": _wrong_cell,
    "backends": _wrong_backend,
    "notations": _wrong_notation,
    "formats": _wrong_format,
}


# -- the GPU -----------------------------------------------------------------------------------------------------------


def gpu() -> Iterator[Finding]:
    """What proves CUDA kernels on the host, and what runs them."""
    yield host_compiler()
    driver = driver_version()
    yield _driver(driver)
    cupy, finding = import_cupy(driver)
    yield finding
    yield headers(cupy is not None)
    if cupy is None:
        return
    runtime = load_runtime()
    yield nvrtc(runtime)
    yield cublas(runtime)
    if driver:
        yield from devices(cupy, runtime)
    else:
        yield Finding("GPU", "none can be reached without a driver", Health.MISSING)


def host_compiler() -> Finding:
    """The compiler that runs CUDA kernels on the processor, to prove them where there is no GPU."""
    name = os.environ.get("CXX") or "g++"
    path = shutil.which(name)
    fix = "apt install g++, dnf install gcc-c++, or name another compiler in CXX"
    if path is None:
        return Finding("g++", f"{name} is not there: CUDA kernels cannot be proven on the host", Health.MISSING, fix)
    try:
        told = _output(path, "--version").splitlines()[0]
        _output(path, "-std=c++17", "-fsyntax-only", "-x", "c++", "-", given="#include <cmath>\n")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return Finding("g++", f"{path} does not compile C++17: {_told(error)}", Health.WARNING, fix)
    return Finding("g++", f"{told}; proves CUDA kernels on the host")


def driver_version() -> int:
    """The newest CUDA that the NVIDIA driver knows, such as 13000; 0 without a driver."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        found = ctypes.c_int()
        return found.value if library.cuDriverGetVersion(ctypes.byref(found)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def _driver(number: int) -> Finding:
    if not number:
        fix = "https://www.nvidia.com/drivers, if this machine has an NVIDIA GPU"
        return Finding("NVIDIA driver", "there is none", Health.MISSING, fix)
    return Finding("NVIDIA driver", f"for CUDA up to {_cuda(number)}")


def import_cupy(driver: int) -> tuple[ModuleType | None, Finding]:
    """CuPy, and whether it fits the driver."""
    fix = f'python -m pip install "cupy-cuda{12 if driver // 1000 == 12 else 13}x[ctk]"'
    if importlib.util.find_spec("cupy") is None:
        return None, Finding("CuPy", "it is not installed", Health.MISSING, fix)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            cupy = import_module("cupy")
        runtime = cupy.cuda.runtime.runtimeGetVersion()
    except Exception as error:
        return None, Finding("CuPy", f"it cannot be imported: {_told(error)}", Health.MISSING, fix)
    found = f"{cupy.__version__}, for CUDA {runtime // 1000}"
    if driver and driver // 1000 < runtime // 1000:
        why = f"{found}; the driver knows CUDA {_cuda(driver)} at most"
        return None, Finding("CuPy", why, Health.MISSING, f"update the driver, or {fix}")
    if int(cupy.__version__.split(".")[0]) < 14:
        return cupy, Finding("CuPy", f"{found}; generated modules are tried with 14", Health.WARNING, fix)
    if warned:
        told = " ".join(str(warned[0].message).split())
        return cupy, Finding("CuPy", f"{found}; it warns: {told}", Health.WARNING)
    return cupy, Finding("CuPy", found)


def headers(used: bool) -> Finding:
    """The toolkit's headers. Generated kernels include none; CuPy's own, such as those of sums, do."""
    roots = [Path(each) for name in ("CUDA_PATH", "CUDA_HOME") if (each := os.environ.get(name))]
    if spec := importlib.util.find_spec("nvidia"):
        roots += [part for each in spec.submodule_search_locations or () for part in sorted(Path(each).iterdir())]
    places = [root / "include" for root in (*roots, Path("/usr/local/cuda"))]
    found = next((str(place) for place in places if (place / "cuda_fp16.h").is_file()), "")
    if found:
        return Finding("CUDA headers", f"{found}; generated kernels need none")
    if used:
        return Finding("CUDA headers", "none; generated kernels need none, CuPy's own do", Health.WARNING, TOOLKIT)
    return Finding("CUDA headers", "none; generated kernels need none")


def load_runtime() -> Any:
    """The runtime of generated CuPy modules, as one of them would load it. Needs CuPy."""
    spec = importlib.util.spec_from_file_location("_lstmgen_cupy_runtime", RUNTIME)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


SOURCE = """
// b = tanh(a)
extern "C" __global__ void squash(const real* __restrict__ a, real* __restrict__ b, long long n) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) b[i] = tanh(a[i]);
}
"""


def nvrtc(runtime: Any) -> Finding:
    """The compiler of kernels, tried on one. It needs no GPU."""
    try:
        compiler = import_module("cupy.cuda").nvrtc
        number = ".".join(map(str, compiler.getVersion()))
        arch = f"sm_{min(each for each in compiler.getSupportedArchs() if each >= 80)}"
        runtime.compile_cubin(SOURCE, "doctor", arch, "float")
    except Exception as error:
        return Finding("NVRTC", _told(error), Health.MISSING, TOOLKIT)
    return Finding("NVRTC", f"{number}; compiles a kernel for {arch}")


def cublas(runtime: Any) -> Finding:
    """The library of matrix products."""
    try:
        library = runtime.load_cublas()
        numbers = []
        for index in range(3):
            part = ctypes.c_int()
            library.cublasGetProperty(index, ctypes.byref(part))
            numbers.append(str(part.value))
    except Exception as error:
        return Finding("cuBLAS", _told(error), Health.MISSING, TOOLKIT)
    return Finding("cuBLAS", ".".join(numbers))


def devices(cupy: Any, runtime: Any) -> Iterator[Finding]:
    """Every GPU, and whether the current one computes what it should."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        yield Finding("GPU", f"there is none: {_told(error)}", Health.MISSING, "see what nvidia-smi prints")
        return
    for index in range(count):
        facts = cupy.cuda.runtime.getDeviceProperties(index)
        capability = f"{facts['major']}.{facts['minor']}"
        memory = f"{facts['totalGlobalMem'] / 2**30:.1f} GiB"
        yield Finding(f"GPU {index}", f"{facts['name'].decode()}, compute capability {capability}, {memory}")
    for name, trial in (("kernel", _try_kernel), ("product", _try_product), ("graph", _try_graph)):
        try:
            yield trial(cupy, runtime)
        except Exception as error:
            yield Finding(name, f"fails on the current GPU: {_told(error)}", Health.BROKEN)


def _try_kernel(cupy: Any, runtime: Any) -> Finding:
    import numpy as np

    given = np.linspace(-3, 3, 1000, dtype=np.float32)
    found = cupy.empty(given.shape, given.dtype)
    runtime.Kernels("doctor", SOURCE).launch("squash", given.size, cupy.asarray(given), found, given.size)
    return _compared("kernel", "compiled and run: tanh", found.get(), np.tanh(given))


def _try_product(cupy: Any, runtime: Any) -> Finding:
    import numpy as np

    left, right = np.random.default_rng(0).standard_normal((2, 64, 64), np.float32)
    found = cupy.empty((64, 64), np.float32)
    runtime.matmul(cupy.asarray(left), cupy.asarray(right), found)
    return _compared("product", "of two matrices in float32", found.get(), left @ right)


def _try_graph(cupy: Any, runtime: Any) -> Finding:
    import numpy as np

    one, total = cupy.asarray(np.eye(8, dtype=np.float32)), cupy.asarray(np.zeros((8, 8), np.float32))
    graph = runtime.Graph(True)
    for _ in range(3):
        graph.run(lambda: runtime.matmul(one, one, total, onto=True), one)
    finding = _compared("graph", "captured and replayed", total.get(), 3 * np.eye(8))
    if finding.health is Health.OK and not graph.captures:
        return Finding("graph", "none can be captured: kernels are launched one by one", Health.WARNING)
    return finding


def _compared(name: str, what: str, found: Any, wanted: Any) -> Finding:
    import numpy as np

    error = float(np.abs(found - wanted).max())
    if not error < 1e-4:
        return Finding(name, f"{what}: wrong by {error:.1e}", Health.BROKEN, "update the driver and CuPy")
    return Finding(name, f"{what}, right within {error:.1e}")


def _cuda(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _output(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
