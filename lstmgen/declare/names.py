"""Names a declaration may not use, because they would mean something else in the code that is generated from it."""

from __future__ import annotations

import keyword
import re

PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")

_PARAMETERS = "flat names sizes dtype initialize from_dict to_dict zeros_like copy"
_TUPLE = "count index"
_CLASSES = "Array Gradients Inputs Outputs Parameters Residuals Sizes State Workspace"
_ARGUMENTS = (
    "p x_t state initial final residuals d_outputs d_final outputs output workspace start lengths steps batch self seed"
)
_PYTHON = " ".join([*keyword.kwlist, "range np"])
_CUDA = (
    "alignas alignof and_eq asm auto bitand bitor bool catch char compl concept const const_cast constexpr "
    "decltype default delete do double dynamic_cast enum explicit export extern false float friend goto inline int "
    "long mutable namespace new noexcept not_eq nullptr operator or_eq private protected public register "
    "reinterpret_cast requires short signed sizeof static static_assert static_cast struct switch template this "
    "thread_local throw true typedef typeid typename union unsigned using virtual void volatile wchar_t xor xor_eq "
    "threadIdx blockIdx blockDim gridDim warpSize half cp"
)

RESERVED: dict[str, str] = {
    **dict.fromkeys(_CUDA.split(), "a word of CUDA C++"),
    **dict.fromkeys(_PYTHON.split(), "a word of the generated Python code"),
    **dict.fromkeys(_PARAMETERS.split(), "a member of the generated class Parameters"),
    **dict.fromkeys(_CLASSES.split(), "a class of the generated module"),
    **dict.fromkeys(_TUPLE.split(), "a method of the tuples that hold states and inputs"),
    "outputs": "what the generated functions return",
}
"""Names that no value or dimension may have, and what each means already."""

RESERVED_FOR_INPUTS: dict[str, str] = dict.fromkeys(_ARGUMENTS.split(), "another argument of the generated functions")
"""Names that no input may have besides: inputs are positional arguments of the generated functions."""

RESERVED_FOR_DIMENSIONS: dict[str, str] = {
    **dict.fromkeys(["steps", "batch"], "an axis that every array of the generated code has"),
    **dict.fromkeys(["seed", "cls"], "another argument of Parameters.initialize"),
}
"""Names that no dimension may have besides."""


def reason_against(name: str, *, is_input: bool = False, is_dimension: bool = False) -> tuple[str, str, str] | None:
    """Why ``name`` cannot name a value or a dimension: (code, message, hint), or None if it can."""
    if not isinstance(name, str) or not PATTERN.match(name):
        return (
            "LG109",
            f"{name!r} is not a name that generated code can use",
            "begin with a letter, then letters, digits and underscores (ASCII)",
        )
    if name.startswith("d_"):
        return ("LG108", f"the name {name!r} is reserved: d_{name[2:]} is the adjoint of {name[2:]}", "rename it")
    if name.endswith("_prev"):
        return (
            "LG108",
            f"the name {name!r} is reserved: *_prev is a state's value at the step before",
            f"rename it; eq.state({name[:-5]!r}) gives the previous value of a state",
        )
    meaning = RESERVED.get(name)
    if is_input:
        meaning = meaning or RESERVED_FOR_INPUTS.get(name)
    if is_dimension:
        meaning = meaning or RESERVED_FOR_DIMENSIONS.get(name)
    if meaning:
        return ("LG108", f"the name {name!r} is reserved: it is {meaning}", f"rename it, to {name}_ for example")
    return None
