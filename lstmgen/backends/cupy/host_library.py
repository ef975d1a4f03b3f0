"""Compiles CUDA kernels for the host, with ``host_shim.h`` before them, and calls them through ctypes."""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lstmgen.errors import LstmgenError

FLAGS = (
    *("-O1", "-std=c++17", "-shared", "-fPIC"),
    "-ffp-contract=off",  # the same bits from every compiler
    "-fvisibility=hidden",  # libraries of many modules live in one process
    "-w",
)


class HostUnavailable(LstmgenError):  # noqa: N818 -- it is a state of the machine, not a mistake
    """Kernels cannot run on this host: there is no C++ compiler, or it does not compile even a trivial kernel."""


class CompileError(LstmgenError):
    """The compiler refuses a module's kernels."""


class LaunchError(LstmgenError):
    """A launch that is wrong, or a kernel that did what no kernel may do."""


@dataclass(frozen=True)
class Compiler:
    """How to call a compiler, and what it says of itself."""

    command: tuple[str, ...]
    version: str


class _Fault(ctypes.Structure):
    """The shim's ``Fault``."""

    _fields_ = (
        ("block", ctypes.c_longlong),
        ("waiting", ctypes.c_longlong),
        ("line", ctypes.c_longlong),
        ("other_line", ctypes.c_longlong),
    )


# What the shim's `launch` returns.
_DONE, _DIVERGENT = 0, 1


class Library:
    """The kernels of one module, compiled for one dtype. One launch runs at a time: stacks are those of the process."""

    _turn = threading.Lock()
    _stacks: int | None = None

    def __init__(self, path: Path, module: str, source: str) -> None:
        self._module, self._source = module, source
        self._kernels = {name: place for place, name in enumerate(kernel_names(source))}
        library = ctypes.CDLL(str(path))
        if Library._stacks is None:
            library.lstmgen_make_stacks.restype = ctypes.c_void_p
            Library._stacks = library.lstmgen_make_stacks()
        library.lstmgen_use_stacks.argtypes = (ctypes.c_void_p,)
        library.lstmgen_use_stacks(Library._stacks)
        self._launch = library.lstmgen_launch
        self._launch.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_void_p, ctypes.c_void_p)
        library.lstmgen_signature.restype = ctypes.c_char_p
        self._signatures: dict[str, str] = {
            name: library.lstmgen_signature(place).decode() for name, place in self._kernels.items()
        }

    def signature(self, kernel: str) -> str:
        """A letter for each argument: ``r`` for an array that is read, ``w`` for one that is written, ``i`` an int."""
        if kernel not in self._signatures:
            raise LaunchError(f"{self._module}: there is no kernel {kernel!r}, but {', '.join(self._kernels)}")
        return self._signatures[kernel]

    def launch(self, kernel: str, blocks: int, seed: int, arguments: Sequence[int]) -> None:
        """Runs a kernel; an array is given as its address."""
        fault = _Fault()
        values = (ctypes.c_longlong * len(arguments))(*arguments)
        with self._turn:
            status = self._launch(self._kernels[kernel], blocks, seed, values, ctypes.byref(fault))
        if status == _DIVERGENT:
            raise LaunchError(self._divergence(kernel, fault))
        if status != _DONE:
            raise LaunchError(f"{self._module}: kernel {kernel}: no memory for the stacks of its threads")

    def _divergence(self, kernel: str, fault: _Fault) -> str:
        lines = self._source.splitlines()

        def spelled(line: int) -> str:
            return f"line {line}: {lines[line - 1].strip()}"

        others = (
            f"others wait at {spelled(fault.other_line)}"
            if fault.other_line
            else f"the other {256 - fault.waiting} have returned"
        )
        return (
            f"{self._module}: kernel {kernel}: a barrier must be reached by all threads of a block; in block "
            f"{fault.block}, {'some' if fault.other_line else fault.waiting} wait at {spelled(fault.line)}, {others}"
        )


_LOADING = threading.Lock()


def library(module: str, source: str, real: str) -> Library:
    """The kernels of a module for ``real``, float or double; compiled where no earlier run has left them."""
    with _LOADING:  # the first one makes the stacks of all
        return _library(module, source, real)


@functools.cache
def _library(module: str, source: str, real: str) -> Library:
    found = compiler()
    text = _text(module, source)
    command = (*found.command, *FLAGS, f"-DLSTMGEN_REAL={real}")
    key = "\0".join((text, *command, found.version, sys.platform, platform.machine()))
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    for folder in (cache_folder() / "host", _own_folder()):
        path = folder / name
        try:
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                _compile(command, text, path, module, source)
            return Library(path, module, source)
        except OSError:
            continue  # not writable, or not a place to run code from
    raise HostUnavailable(f"a compiled kernel can be loaded neither from {cache_folder()} nor from {_own_folder()}")


def compiler() -> Compiler:
    """The C++ compiler: ``CXX``, else g++. Raises :class:`HostUnavailable` where there is none."""
    command = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    path = shutil.which(command[0])
    if path is None:
        raise HostUnavailable(f"no C++ compiler: {command[0]} was not found (CXX names another one)")
    return Compiler((path, *command[1:]), _version(path))


@functools.cache
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``LSTMGEN_CACHE``, else lstmgen's own in the user's folder for caches."""
    named = os.environ.get("LSTMGEN_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lstmgen"


@functools.cache
def _own_folder() -> Path:
    """A folder for this process alone."""
    folder = tempfile.mkdtemp(prefix="lstmgen-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


# A kernel's head as far as its name.
_KERNEL = re.compile(r'(?:extern\s+"C"\s+)?__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9_]+\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def kernel_names(source: str) -> tuple[str, ...]:
    """The kernels that ``source`` defines."""
    return tuple(_KERNEL.findall(_COMMENT.sub(" ", source)))


def _text(module: str, source: str) -> str:
    """What is compiled: the shim, the kernels, and the table that the shim finds them in."""
    shim = Path(__file__).with_name("host_shim.h").read_text(encoding="utf-8")
    entries = ", ".join(f"::lstmgen_host::entry<kernels::{name}>" for name in kernel_names(source))
    # In a namespace, names of kernels do not meet those of the C library; but there, none may be `extern "C"`.
    inside = re.sub(r'extern\s+"C"\s+(?=__global__)', "", source)
    # The C library has macros, such as NAN and M_PI, that a device's compiler does not have.
    macros = "\n".join(f"#undef {name}" for name in sorted(set(_CAPITALS.findall(_COMMENT.sub(" ", inside)))))
    return (
        f"{shim}\n{macros}\nnamespace {{\nnamespace kernels {{\n"
        f'#line 1 "{module}.cu"\n{inside}\n'
        f'#line 1 "kernels"\n}}\n}}\nLSTMGEN_KERNELS({entries})\n'
    )


def _compile(command: Sequence[str], text: str, path: Path, module: str, source: str) -> None:
    """Makes the library ``path``; a process that does so at the same time does no harm."""
    handle, made = tempfile.mkstemp(suffix=".so.tmp", dir=path.parent)
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, "-x", "c++", "-", "-o", made], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CompileError(_complaint(done.stderr, module, source))
        os.replace(made, path)
    finally:
        Path(made).unlink(missing_ok=True)


def _complaint(output: str, module: str, source: str) -> str:
    """The compiler's first error, with the line it is about and the comment above that."""
    head = f"{module}: its kernels do not compile for the host"
    found = re.search(rf"^{re.escape(module)}\.cu:(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", output, re.MULTILINE)
    if found is None:
        return f"{head}\n{output}"
    lines = source.splitlines()
    number = int(found[1])
    above = (line.strip() for line in reversed(lines[: number - 1]))
    comment = next((line for line in above if line.startswith("//")), "")
    shown = [head, f"line {number}: {found[2]}", *([f"    {comment}"] if comment else [])]
    shown += [f"    {line.strip()}" for line in lines[number - 1 : number]]
    return "\n".join([*shown, "The compiler says:", output])
