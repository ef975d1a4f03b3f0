"""Generated modules for Python: the shell around the bodies of its kernels.

The shell is all that the contract of generated modules asks for besides: parameters, states, checks of arguments,
workspaces. It depends on the cell alone, so that a back end has only to write :class:`Bodies`.

Everything a template needs is computed here, into a frozen context of strings, booleans and tuples; the template lays
it out and decides nothing.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lstmgen.backends.base import Provenance
from lstmgen.backends.layout import WIDTH, filled, in_docstring, wrapped
from lstmgen.calculus.graph import Graph
from lstmgen.calculus.interpreter import all_dims, derived_sizes, size_names
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.calculus.text import Text, inlined_products
from lstmgen.declare.declaration import Constant, Declaration, FixedArray, Normal, Parameter, Uniform
from lstmgen.declare.dims import Dims
from lstmgen.declare.symbols import Value


@dataclass(frozen=True)
class ArrayLibrary:
    """The library whose arrays modules take and return.

    ``name`` is also that of the folder of its template; modules import it as ``alias``. ``no_array`` is the value of a
    field that holds no array, as a type checker wants it where it knows what an array is.
    """

    name: str
    alias: str
    no_array: str


NUMPY = ArrayLibrary("numpy", "np", "None  # type: ignore[assignment]")
CUPY = ArrayLibrary("cupy", "cp", "None")


@dataclass(frozen=True)
class Bodies:
    """What a back end adds to the shell of a module: the bodies of functions that take and return arrays.

    ``_forward(_parameters, *given, _initial, _arrays)`` returns the outputs, the final ``State``, and the arrays for
    ``_backward`` in a dictionary by name. ``_backward(_parameters, _saved, *seeds, _d_final, _gradients, _arrays,
    _rebuilt)`` fills the ``Parameters`` ``_gradients``, which are zeros before, and returns ``Inputs`` and ``State``.
    Arguments have been checked, and every field of a state is an array; callers' arrays are (steps, batch, ...) or
    (batch, ...) and must not be written to, nor be part of what is returned. Several outputs make an ``Outputs``;
    ``_CONSTANTS`` holds the cell's constants by name, ``_parameters.hidden`` the size of a dimension.

    ``_arrays`` is an ``_Arrays`` that ``_forward_arrays(_parameters, _steps, _batch, _again, _keep)`` or
    ``_backward_arrays(_parameters, _steps, _batch, _again, _saved)`` has made: ``residuals`` is that dictionary,
    ``of_pass`` what else the pass needs. With ``_again`` a workspace keeps it for the next call with equal shapes, so
    that what is returned must not lie in it.
    ``_keep`` says what must hold for all steps: ``"save"`` what backward reads, ``"recompute"`` what that can be
    rebuilt from, ``"nothing"`` for inference. Where forward keeps less than backward reads, ``_rebuild_arrays`` (of
    the arguments of ``_backward_arrays``) makes arrays for all of it and ``_rebuild(_parameters, _batch, _arrays)`` is
    a generator that fills them chunk by chunk, from the last to the first, each time ``_backward`` takes one value from
    ``_rebuilt``; leave both empty if ``"recompute"`` keeps all. ``chunk_rows`` and ``chunk_steps`` are what
    ``_chunk_length(_steps, _batch)`` goes by.

    ``given`` are the bodies' own names for what comes in at every step (``Declaration.given``), ``seeds`` those for the
    gradients of the loss by the outputs. Lines are indented as they stand in a function. ``kind`` completes "forward
    and backward kernels", ``reading`` tells the reader about the kernels, ``imports`` are statements; ``sections`` are
    lines of the module that stand after those functions, without the blank lines around them. With
    ``erf_coefficients`` a module for NumPy has a function ``_erf``.

    ``arrays`` says whose arrays all of these are, NumPy's unless given. Callers' arrays are contiguous where they are
    CuPy's, and lie on the current device, as the parameters do; ``_CONSTANTS`` holds NumPy arrays even then. A module
    for CuPy imports the runtime ``_cupy_runtime`` as ``_runtime``, which a back end has to emit beside it.
    """

    kind: str
    reading: str
    given: tuple[str, ...]
    seeds: tuple[str, ...]
    forward: tuple[str, ...]
    backward: tuple[str, ...]
    forward_arrays: tuple[str, ...] = ("    return _Arrays({}, ())",)
    backward_arrays: tuple[str, ...] = ("    return _Arrays({}, ())",)
    rebuild_arrays: tuple[str, ...] = ()
    rebuild: tuple[str, ...] = ()
    chunk_rows: int = 512
    chunk_steps: int = 16
    imports: tuple[str, ...] = ()
    erf_coefficients: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    arrays: ArrayLibrary = NUMPY


@dataclass(frozen=True)
class Entry:
    """A parameter, input, state or output as the template lays it out."""

    name: str
    doc: str


@dataclass(frozen=True)
class Context:
    """All that a template prints."""

    array_module: str
    no_array: str
    kind: str
    title: tuple[str, ...]
    summary: tuple[str, ...]
    version: str
    cell: str
    digest: str
    command: str
    equations: tuple[str, ...]
    reading: tuple[str, ...]
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    sizes: tuple[str, ...]
    size_names: str
    start_doc: str
    start_lines: tuple[str, ...]
    unseen_arguments: str
    unseen_sizes: str
    derived: tuple[tuple[str, str, str], ...]
    derived_lines: tuple[str, ...]
    constants: tuple[str, ...]
    parameters: tuple[Entry, ...]
    groups: tuple[str, ...]
    all_dims: tuple[tuple[str, str], ...]
    inputs: tuple[Entry, ...]
    states: tuple[Entry, ...]
    outputs: tuple[Entry, ...]
    several_outputs: bool
    outputs_type: str
    forward_doc: tuple[str, ...]
    forward_signature: tuple[str, ...]
    infer_signature: tuple[str, ...]
    step_signature: tuple[str, ...]
    argument_names: str
    kernel_arguments: str
    check_arguments: str
    check_pairs: tuple[str, ...]
    step_names: str
    uses_step_index: bool
    step_output: str
    step_doc: tuple[str, ...]
    forward_call: tuple[str, ...]
    infer_call: tuple[str, ...]
    step_call: tuple[str, ...]
    backward_call: tuple[str, ...]
    seed_lines: tuple[str, ...]
    seed_arguments: str
    forward_arrays: tuple[str, ...]
    forward: tuple[str, ...]
    backward_arrays: tuple[str, ...]
    backward: tuple[str, ...]
    rebuilds: bool
    rebuild_arrays: tuple[str, ...]
    rebuild: tuple[str, ...]
    sections: tuple[str, ...]
    chunk_rows: str
    chunk_steps: str
    uses_chunks: bool
    uses_beginning: bool
    uses_transpose: bool
    uses_erf: bool
    erf_coefficients: tuple[str, ...]


def load_source(source: str, module: str, builtins: Mapping[str, object] | None = None) -> types.ModuleType:
    """Executes ``source`` as a module, with its own ``builtins`` if any; its lines show up in tracebacks."""
    import linecache
    import sys

    made = types.ModuleType(module)
    file = f"<generated {module}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    made.__file__ = file
    made.__package__ = module.rpartition(".")[0]  # for an import of what lies beside it
    # Registered so that instances of its classes can be pickled and copied by reference to it.
    sys.modules[module] = made
    if builtins is not None:
        vars(made)["__builtins__"] = dict(builtins)
    exec(compile(source, file, "exec"), made.__dict__)
    return made


def module_text(gradient: Gradient, provenance: Provenance, bodies: Bodies) -> str:
    """The text of a module that fulfils the contract of generated modules, around the kernels of some back end."""
    from lstmgen.templating import render  # Jinja comes with the first module that is written

    return render(f"{bodies.arrays.name}/module.py.jinja", shell_context(gradient, provenance, bodies))


def flat_order(parameters: tuple[Parameter, ...]) -> tuple[tuple[Parameter, ...], ...]:
    """Parameters of equal dimensions side by side, in declared order: the groups of the flat buffer."""
    groups: dict[Dims, list[Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.value.dims, []).append(parameter)
    return tuple(tuple(group) for group in groups.values())


def shell_context(gradient: Gradient, provenance: Provenance, bodies: Bodies) -> Context:
    """Everything the template prints, from a cell's gradient and the kernels of some back end."""
    declaration, primal = gradient.declaration, gradient.primal
    groups = flat_order(declaration.parameters)
    text = Text(inlined_products(primal))
    descriptions = {equation.target.name: equation.description for equation in declaration.equations}
    doc = declaration.doc.strip().splitlines() or [f"The cell {declaration.name}."]
    sizes = size_names(declaration, primal)
    derived = {dim: parts for dim, parts in derived_sizes(primal).items() if dim in all_dims(declaration, primal)}
    carried_by_parameters = {dim for each in declaration.parameters for dim in each.value.dims}
    unseen = [size for size in sizes if size not in carried_by_parameters]
    fixed = declaration.fixed_sizes
    unseen_lengths = [*(f'"{size}": {size}' for size in unseen), *(f'"{dim}": {size}' for dim, size in fixed.items())]
    names = [value.name for value in declaration.inputs]
    index = ["_index"] if declaration.step_index else []
    start = ["start: int = 0"] if index else []
    of_forward = [
        "p: Parameters",
        *(f"{name}: Array" for name in names),
        *("*", "initial: State | None = None", *start),
    ]
    keeping = ['residuals: Literal["save", "recompute"] = "save"']
    workspace = ["workspace: Workspace | None = None"]
    of_step = [
        "p: Parameters",
        *(f"{name}_t: Array" for name in names),
        *("*", "state: State | None = None", *start),
    ]
    single = len(declaration.outputs) == 1
    with_dims = [
        *(each.value for group in groups for each in group),
        *(state.next for state in declaration.states),
        *declaration.inputs,
        *declaration.outputs,
    ]
    seeds = [seed for seed in gradient.seeds if seed.origin is Origin.LOSS]
    outputs_type = "Array" if single else "Outputs"
    printed = (
        *(*bodies.forward_arrays, *bodies.forward),
        *(*bodies.backward_arrays, *bodies.backward),
        *(*bodies.rebuild_arrays, *bodies.rebuild),
    )
    return Context(
        array_module=bodies.arrays.alias,
        no_array=bodies.arrays.no_array,
        kind=bodies.kind,
        title=tuple(map(in_docstring, filled(doc[0].rstrip(".") + ".", WIDTH, set_in=""))),
        summary=_summary(declaration.reference, doc[1:]),
        version=provenance.version,
        cell=provenance.cell,
        digest=provenance.digest,
        command=provenance.command,
        equations=_printed_equations(primal, text, descriptions),
        reading=tuple(filled(bodies.reading, WIDTH, set_in="")),
        imports=bodies.imports,
        exports=tuple(sorted([*_EXPORTS, *([] if single else ["Outputs"])])),
        sizes=sizes,
        size_names=", ".join(sizes),
        start_doc=_start_doc(gradient),
        start_lines=_start_lines(groups, gradient),
        unseen_arguments="".join([", *"] + [f", {size}: int" for size in unseen]) if unseen else "",
        unseen_sizes=", ".join(unseen_lengths),
        derived=(
            *((dim, str(size), "a dimension that a constant fixes") for dim, size in fixed.items()),
            *(
                (dim, " * ".join(f"self.{part}" for part in parts), "a dimension that others make up")
                for dim, parts in derived.items()
            ),
        ),
        derived_lines=(
            *(f'lengths["{dim}"] = {size}' for dim, size in fixed.items()),
            *(
                f'lengths["{dim}"] = ' + " * ".join(f'lengths["{part}"]' for part in parts)
                for dim, parts in derived.items()
            ),
        ),
        constants=tuple(line for each in declaration.constants for line in _constant_lines(each)),
        parameters=tuple(
            Entry(each.value.name, _parameter_doc(each, gradient, text)) for group in groups for each in group
        ),
        groups=tuple(
            line
            for group in groups
            for line in filled(", ".join(f'"{each.value.name}"' for each in group) + ",", WIDTH - 8, set_in="")
        ),
        all_dims=tuple((name, dims) for name, dims in {value.name: _quoted(value.dims) for value in with_dims}.items()),
        inputs=tuple(_entry(value, ("steps", "batch"), descriptions) for value in declaration.inputs),
        states=tuple(_entry(state.next, ("batch",), descriptions) for state in declaration.states),
        outputs=tuple(_entry(value, ("steps", "batch"), descriptions) for value in declaration.outputs),
        several_outputs=not single,
        outputs_type=outputs_type,
        forward_doc=_forward_doc(declaration),
        forward_signature=_signature(
            "forward", [*of_forward, *keeping, *workspace], f"tuple[{outputs_type}, State, Residuals]"
        ),
        infer_signature=_signature("infer", [*of_forward, *workspace], f"tuple[{outputs_type}, State]"),
        step_signature=_signature("step", of_step, f"tuple[{outputs_type}, State]"),
        argument_names=", ".join(names),
        kernel_arguments=",\n    ".join(f"{name}: Array" for name in bodies.given),
        check_arguments=", ".join(f"{name}: Any" for name in names),
        check_pairs=_check_pairs(names),
        step_names=", ".join(f"{name}_t" for name in names),
        uses_step_index=bool(index),
        step_output="outputs[0]" if single else "Outputs(*(output[0] for output in outputs))",
        step_doc=tuple(filled(_arrays_doc(declaration.inputs, ("batch",), "_t") + ".", WIDTH - 4, set_in="")),
        forward_call=_call("outputs, final, _saved = _forward", ["p", *names, *index, "_start", "_arrays"]),
        infer_call=_call("outputs, final, _ = _forward", ["p", *names, *index, "_start", "_arrays"]),
        step_call=_call(
            "outputs, final, _ = _forward",
            ["p", *(f"{name}_t[None]" for name in names), *index, "_start", "_arrays"],
        ),
        backward_call=_call(
            "inputs, initial = _backward",
            [
                *("p", "_saved", *(f"_{seed.adjoint.name}" for seed in seeds), "_end"),
                *("parameters", "_arrays", "_rebuilt"),
            ],
        ),
        seed_lines=_seed_lines(gradient, single),
        seed_arguments=",\n    ".join(f"{name}: Array" for name in bodies.seeds),
        forward_arrays=bodies.forward_arrays,
        forward=bodies.forward,
        backward_arrays=bodies.backward_arrays,
        backward=bodies.backward,
        rebuilds=bool(bodies.rebuild),
        rebuild_arrays=bodies.rebuild_arrays,
        rebuild=bodies.rebuild,
        sections=bodies.sections,
        chunk_rows=str(bodies.chunk_rows),
        chunk_steps=str(bodies.chunk_steps),
        uses_chunks=any("_part(" in line for line in printed),
        uses_beginning=any("_beginning(" in line for line in printed),
        uses_transpose=any("_transpose(" in line for line in printed),
        uses_erf=bool(bodies.erf_coefficients),
        erf_coefficients=bodies.erf_coefficients,
    )


_EXPORTS = [
    "Gradients",
    "Inputs",
    "Parameters",
    "Residuals",
    "Sizes",
    "State",
    "Workspace",
    "backward",
    "forward",
    "infer",
    "step",
]


def _call(function: str, arguments: list[str]) -> tuple[str, ...]:
    """A call in the body of a function, broken where it is too long for a line."""
    return tuple(wrapped(f"    {function}({', '.join(arguments)})"))


def _arrays_doc(values: Sequence[Value], leading: Dims, suffix: str = "") -> str:
    return "; ".join(f"`{value.name}{suffix}` is {_spelled((*leading, *value.dims))}" for value in values)


def _signature(name: str, arguments: Sequence[str], returned: str) -> tuple[str, ...]:
    """The head of a function as a formatter would break it."""
    one = f"def {name}({', '.join(arguments)}) -> {returned}:"
    if len(one) <= WIDTH:
        return (one,)
    inner = f"    {', '.join(arguments)}"
    lines = [inner] if len(inner) <= WIDTH else [f"    {argument}," for argument in arguments]
    return (f"def {name}(", *lines, f") -> {returned}:")


def _check_pairs(names: Sequence[str]) -> tuple[str, ...]:
    """The head of a loop over inputs with their names, as a formatter would break it."""
    pairs = [f'("{name}", {name}),' for name in names]
    if len(pairs) == 1:
        return (f"for name, array in ({pairs[0]}):",)
    return ("for name, array in (", *(f"    {pair}" for pair in pairs), "):")


def _constant_lines(constant: FixedArray) -> list[str]:
    """A constant as an entry of a dictionary."""
    dims = _spelled(constant.value.dims)
    numbers = filled(f"({', '.join(map(repr, constant.numbers))},)", WIDTH - 8)
    return [
        f"# {dims}{f', {constant.description}' if constant.description else ''}",
        f'"{constant.value.name}": np.array(',
        *(f"    {line}" for line in numbers),
        f").reshape({constant.shape}),",
    ]


def _forward_doc(declaration: Declaration) -> tuple[str, ...]:
    """What goes in and comes out of a forward pass."""
    inputs, outputs = declaration.inputs, declaration.outputs
    every = ("steps", "batch")
    returned = (
        f" {_spelled((*every, *outputs[0].dims))}"
        if len(outputs) == 1
        else " (" + "; ".join(f"{value.name} {_spelled((*every, *value.dims))}" for value in outputs) + ")"
    )
    start = " `start` is the index of the first step." if declaration.step_index else ""
    text = (
        f"{_arrays_doc(inputs, every)}. `initial` is the state before the first step, zeros where None.{start} Returns "
        f"the outputs{returned}, the state after the last step, and the residuals."
    )
    return tuple(filled(text, WIDTH - 4, set_in=""))


def _summary(reference: str, rest: list[str]) -> tuple[str, ...]:
    lines = [part for line in rest for part in filled(line.rstrip(), WIDTH)]
    if reference:
        lines += ["", *filled(reference if reference.endswith(".") else f"{reference}.", WIDTH)]
    return tuple(map(in_docstring, lines))


def _seed_lines(gradient: Gradient, single: bool) -> tuple[str, ...]:
    """Completes what the caller gives of the loss's gradients, by output."""
    lines = (
        []
        if single
        else [
            "if d_outputs is None:",
            "    d_outputs = Outputs()",
            "if not isinstance(d_outputs, Outputs):",
            '    raise TypeError(f"d_outputs: expected Outputs or None, got {_spell_type(d_outputs)}")',
        ]
    )
    for seed in gradient.seeds:
        if seed.origin is not Origin.LOSS:
            continue
        argument = "d_outputs" if single else f"d_outputs.{seed.of.name}"
        lines.append(
            f'_{seed.adjoint.name} = _full_seed("{argument}", {argument}, p, _steps, _batch, {_quoted(seed.of.dims)})'
        )
    return tuple(lines)


def _start_doc(gradient: Gradient) -> str:
    special = any(each.init is not None for each in gradient.declaration.parameters)
    text = f"uniform in ±1/sqrt({_default_bound(gradient)})"
    return f"{text} where the cell declares nothing else" if special else text


def _start_lines(groups: tuple[tuple[Parameter, ...], ...], gradient: Gradient) -> tuple[str, ...]:
    """The start values of all parameters, drawn in the order of the flat buffer."""
    lines = []
    if any(each.init is None for group in groups for each in group):
        bound = _default_bound(gradient)
        lines.append(f'bound = 1.0 / np.sqrt(_lengths(sizes)["{bound}"])' if bound else "bound = 1.0")
    if all(each.init is None for group in groups for each in group):
        return (*lines, "values = [random.uniform(-bound, bound, shape) for shape in shapes.values()]")
    lines.append("values = [")
    for group in groups:
        for each in group:
            shape = f'shapes["{each.value.name}"]'
            match each.init:
                case Constant(value):
                    lines.append(f"    np.full({shape}, {value!r}),")
                case Uniform(bound_of):
                    lines.append(f"    random.uniform(-{bound_of!r}, {bound_of!r}, {shape}),")
                case Normal(std):
                    lines.append(f"    random.normal(0.0, {std!r}, {shape}),")
                case _:
                    lines.append(f"    random.uniform(-bound, bound, {shape}),")
    return (*lines, "]")


def _printed_equations(primal: Graph, text: Text, descriptions: Mapping[str, str]) -> tuple[str, ...]:
    rows = [
        (text.equation(equation), descriptions.get(equation.target.name, ""))
        for equation in primal.equations
        if equation.target not in text.inline
    ]
    rows = [(line, "" if what.startswith("pre-activation") else what) for line, what in rows]
    width = max(len(line) for line, _ in rows)
    lines = [f"{line:<{min(width, 60)}}  {what}".rstrip() for line, what in rows]
    return tuple(in_docstring(part) for line in lines for part in filled(line, WIDTH - 4))


def _spelled(dims: Dims) -> str:
    return "(" + ", ".join(dims) + ("," if len(dims) == 1 else "") + ")"


def _quoted(dims: Dims) -> str:
    return _spelled(tuple(f'"{dim}"' for dim in dims))


def _parameter_doc(parameter: Parameter, gradient: Gradient, text: Text) -> str:
    """What a parameter is: its own description, else the first equation that reads it."""
    what = parameter.description
    if not what:
        reader = next(
            equation
            for equation in gradient.primal.equations
            if equation.target not in text.inline and parameter.value in text.operands(equation.expression)
        )
        what = f"in {text.equation(reader)}"
    # The first line of a docstring stands after its quotes.
    return in_docstring("\n        ".join(filled(f"{_spelled(parameter.value.dims)}, {what}", WIDTH - 14)), last=True)


def _entry(value: Value, leading: Dims, descriptions: Mapping[str, str]) -> Entry:
    what = descriptions.get(value.name, "")
    doc = _spelled((*leading, *value.dims)) + (f", {what}" if what else "")
    return Entry(value.name, in_docstring(doc, last=True))


def _default_bound(gradient: Gradient) -> str:
    """The dimension of the default start values: ``hidden`` where there is one, else the first state's first."""
    dims = all_dims(gradient.declaration, gradient.primal)
    if "hidden" in dims:
        return "hidden"
    states = [state.next.dims[0] for state in gradient.declaration.states if state.next.dims]
    return states[0] if states else (dims[0] if dims else "")
