"""The equation builder: the ``eq`` that a cell's function receives.

Nothing here raises on a user's mistake: each is recorded in a :class:`Draft`, and the cell goes on.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sympy import Expr

from lstmgen.declare.ambiguity import unrelated_operands
from lstmgen.declare.declaration import Constant, FixedArray, Init, Normal, Parameter, Uniform, in_one_line
from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.draft import Checked, Draft
from lstmgen.declare.names import reason_against
from lstmgen.declare.operations import Matmul, Operation, spell_any
from lstmgen.declare.places import caller
from lstmgen.declare.symbols import Role, Value

_OWN_ROLES = {
    *(Role.INPUT, Role.PARAMETER, Role.STATE, Role.SIZE, Role.CONSTANT, Role.STEP_INDEX),
    *(Role.INTERMEDIATE, Role.ADJOINT),
}
_GIVEN = {Role.PARAMETER, Role.INPUT, Role.STATE, Role.SIZE, Role.CONSTANT, Role.STEP_INDEX}


class Equations:
    """Collects the equations of one step. A cell's function receives one as its first argument, ``eq``."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._maps: set[str] = set()  # what affine has defined

    def input(self, name: str, *dims: str) -> Value:
        """An input of every step, with dimension ``features`` unless given; ``()`` makes it a number of every row."""
        value = self._draft.declare(name, _given(dims, "features"), Role.INPUT)
        self._draft.inputs.append(value)
        return value

    def state(self, name: str, *dims: str) -> Value:
        """The value of state ``name`` at the step before, with dimension ``hidden`` unless given; ``()`` makes it a
        number of every row.

        The symbol that is returned is named ``<name>_prev``; :meth:`next` defines this step's value.
        """
        draft = self._draft
        dims = _given(dims, "hidden")
        fits = draft.check_dims(dims, Role.STATE)
        own = name.removesuffix("_prev") if isinstance(name, str) else name
        reason = reason_against(name)
        if own != name and reason and reason_against(own) is None:
            draft.report(*reason[:2], f"give the state's own name: {name} = eq.state({own!r})")
            draft.renamed[name] = own
            name = own
        else:
            draft.check_name(name)
        previous = Value(f"{name}_prev", tuple(map(str, dims)), Role.STATE)
        draft.known.add(previous)
        draft.places.setdefault(str(name), caller())
        draft.states.setdefault(str(name), previous)
        return previous if fits else draft.poison(previous)

    def parameter(
        self, name: str, *dims: str, init: float | Uniform | Normal | Constant | None = None, description: str = ""
    ) -> Value:
        """A trained array with these dimensions; a scalar without any.

        ``init`` is a number, ``Uniform(bound)``, ``Normal(std)``, or None for uniform in ±1/sqrt(hidden).
        """
        value = self._draft.declare(name, _given(dims), Role.PARAMETER)
        self._draft.shared.add(value)
        self._draft.parameters.append(Parameter(value, self._init(name, init), in_one_line(description)))
        return value

    def affine(
        self,
        name: str,
        *,
        to: str = "hidden",
        bias: str | None = "b",
        bias_init: float | Uniform | Normal | Constant | None = None,
        diagonal: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> Value:
        """Defines ``a_<name>``, an affine map: each keyword names a matrix and gives the vector it multiplies.

        ``affine("f", W=x, U=h_prev)`` declares ``W_f (hidden, features)``, ``U_f (hidden, hidden)`` and ``b_f
        (hidden,)`` and defines ``a_f = W_f @ x + U_f @ h_prev + b_f``. ``bias`` names the bias, None leaves it out;
        ``to`` is the dimension of the result. ``diagonal`` names vectors instead of matrices and gives what each
        multiplies unit by unit: ``diagonal={"p": c_prev}`` declares the peephole ``p_f (hidden,)`` and adds
        ``p_f * c_prev``.
        """
        draft = self._draft
        vectors = {} if diagonal is None else diagonal
        mistakes = list(self._against_affine(name, bias, terms, vectors))
        for mistake in mistakes:
            draft.report(*mistake)
        # One mistake in a name is told once, not for every parameter that carries it.
        if mistakes or not draft.check_name(f"a_{name}") or not draft.check_dims((to,), Role.PARAMETER):
            for each in (*terms.values(), *(vectors.values() if isinstance(vectors, Mapping) else [vectors])):
                draft.read(each)
            return draft.poison(Value(f"a_{name}", (str(to),), Role.PREACTIVATION))
        products: list[Expr] = []
        for matrix, vector in terms.items():
            found = draft.check(vector)
            if found and len(found.dims) != 1:
                mixed = unrelated_operands(found.tree, draft.shared)
                draft.report(
                    "LG102",
                    f"affine({name!r}): {matrix}= needs a vector, this has {spell(found.dims)}",
                    "values of different dimensions broadcast; give each its own matrix: W=x, U=h_prev"
                    if mixed
                    else "declare the parameter with eq.parameter and write the product out",
                )
                found = None
            weight = self.parameter(f"{matrix}_{name}", to, *(found.dims if found else ["features"]))
            products.append(Matmul(weight, found.written) if found else draft.poison(weight))
        for each, factor in vectors.items():
            found = draft.check(factor)
            if found and found.dims not in ((), (to,)):
                draft.report(
                    "LG102",
                    f"affine({name!r}): the diagonal {each} needs {spell((to,))}, this has {spell(found.dims)}",
                    "a diagonal multiplies unit by unit; what has another dimension needs a matrix: W=x",
                )
                found = None
            weight = self.parameter(f"{each}_{name}", to)
            products.append(weight * found.written if found else draft.poison(weight))
        if bias is not None:
            products.append(self.parameter(f"{bias}_{name}", to, init=bias_init))
        self._maps.add(f"a_{name}")
        total = products[0]
        for term in products[1:]:
            total = total + term
        return self._define(f"a_{name}", total, f"pre-activation of {name}", Role.PREACTIVATION)

    def let(self, name: str, expression: Any, description: str = "", *, role: str = Role.VALUE) -> Value:
        """Defines ``name`` as ``expression`` and returns its symbol."""
        if not isinstance(role, str) or role in _OWN_ROLES:
            self._draft.report(
                "LG108",
                f"the role {role!r} is lstmgen's own",
                "leave it out, or give a word for a notation to recognise",
            )
            role = Role.VALUE
        return self._define(name, expression, description, role)

    def next(self, name: str, expression: Any, description: str = "") -> Value:
        """Defines this step's value of state ``name`` and returns its symbol, named ``name``."""
        draft = self._draft
        if not isinstance(name, str):
            return self._define(name, expression, description, Role.VALUE)
        name = draft.renamed.get(name, name)
        previous = draft.states.get(name)
        if previous is None:
            close = difflib.get_close_matches(name, [*draft.states, *(f"{each}_prev" for each in draft.states)], n=1)
            meant = close[0].removesuffix("_prev") if close else ""
            draft.report(
                "LG111",
                f"eq.next({name!r}): there is no state {name!r}",
                f"did you mean {meant!r}?" if close else f"declare it first: {name}_prev = eq.state({name!r})",
            )
            draft.excused.add(meant)
            draft.read(expression)
            return draft.poison(Value(name, ("hidden",), Role.VALUE))
        if name in draft.next_values:
            draft.report(
                "LG104",
                f"state {name!r} is advanced twice; the first time on line {draft.places[name].line}",
                "advance a state once: name the value before it with eq.let",
            )
            draft.check(expression)
            return draft.next_values[name]
        value = self._define(name, expression, description, Role.VALUE, previous.dims)
        if value in draft.shared:
            draft.report(
                "LG107",
                f"the next value of state {name!r} depends on no input and no state: it is the same at every step",
                "define it with eq.let, or let it depend on one",
            )
            draft.poison(value)
            draft.opaque = True
        draft.next_values[name] = value
        return value

    def output(self, *values: Any) -> None:
        """Names what the cell returns at every step; with several values, a tuple of them."""
        draft = self._draft
        draft.named_outputs |= bool(values)
        for value in values:
            draft.read(value)
            if not isinstance(value, Value) or value not in draft.known:
                draft.report(
                    "LG117",
                    f"eq.output needs a named value of this cell, not {spell_any(value)}",
                    "give it what eq.let or eq.next returned; an expression is named first: y = eq.let('y', ...)",
                )
            elif value.role in _GIVEN:
                draft.report(
                    "LG117", f"{value.name} is no result of this step", "output a value defined by eq.let or eq.next"
                )
            elif value in draft.poisoned:
                continue
            elif value in draft.outputs:
                draft.report("LG110", f"{value.name} is an output already", "name each output once")
            elif value in draft.shared:
                draft.report(
                    "LG117",
                    f"{value.name} is the same at every step: it depends on no input and no state",
                    "output a value that depends on one",
                )
            else:
                draft.outputs.append(value)

    def size(self, dim: str) -> Value:
        """The size of the dimension ``dim``, a number that expressions may use."""
        draft = self._draft
        value = Value(str(dim), (), Role.SIZE)
        if not draft.check_dims((dim,), Role.PARAMETER):
            return draft.poison(value)
        draft.shared.add(value)
        if value not in draft.known:
            draft.known.add(value)
            draft.sizes.append(value)
            draft.places.setdefault(f"size {dim}", caller())
        return value

    def constant(self, name: str, numbers: Any, *dims: str, description: str = "") -> Value:
        """An array of numbers that is not trained, such as a fixed matrix; it is written into the generated code.

        ``numbers`` is what NumPy takes for an array, one dimension for each name in ``dims``. Their sizes are fixed by
        it: those of ``Parameters.initialize`` do not contain them.
        """
        draft = self._draft
        value = draft.declare(name, _given(dims), Role.CONSTANT)
        draft.shared.add(value)
        if value in draft.poisoned:
            return value
        try:
            array = np.array(numbers, np.float64)
        except (TypeError, ValueError):
            array = np.array(math.nan)
        if array.ndim != len(value.dims) or not array.size or not np.isfinite(array).all():
            draft.report(
                "LG123",
                f"constant {name!r} is given {spell_any(numbers)} for the dimensions {spell(value.dims)}",
                "give finite numbers as a nested list or a NumPy array, with one dimension for each name",
            )
            return draft.poison(value)
        fixed = dict(draft.fixed)
        for dim, size in zip(value.dims, array.shape, strict=True):
            if dim in draft.joined:
                draft.report(
                    "LG123",
                    f"constant {name!r} fixes the size of {dim!r}, which flatten makes of {spell(draft.joined[dim])}",
                    "give one of the two dimensions another name",
                )
                return draft.poison(value)
            if fixed.setdefault(dim, size) != size:
                draft.report(
                    "LG123",
                    f"constant {name!r} has {size} entries along {dim!r}, where {fixed[dim]} were fixed before",
                    "give one of the two dimensions another name",
                )
                return draft.poison(value)
        draft.fixed = fixed
        draft.constants.append(
            FixedArray(value, array.shape, tuple(map(float, array.ravel())), in_one_line(description))
        )
        return value

    def step_index(self, name: str = "t") -> Value:
        """The number of the step, from 0 or the ``start=`` that the generated functions are called with."""
        draft = self._draft
        if draft.step_index is None:
            draft.step_index = draft.declare(name, (), Role.STEP_INDEX)
        elif name != draft.step_index.name:
            draft.report(
                "LG110",
                f"the step index is called {draft.step_index.name!r} already",
                f"use the name {draft.step_index.name!r}",
            )
        return draft.step_index

    # -- what several of them need -----------------------------------------------------------------------------------

    def _define(self, name: str, expression: Any, description: str, role: str, dims: Dims | None = None) -> Value:
        """A value with its equation; ``dims`` are those of the state whose next value it is, None if of none."""
        draft = self._draft
        advancing = dims is not None
        if not isinstance(name, str):
            draft.report(
                "LG109", f"{spell_any(name)} is no name", "the name comes first: eq.let('y', ...), eq.next('h', ...)"
            )
            draft.excused.add(str(name))
            draft.read(name)
            draft.read(expression)
            return draft.poison(Value(str(name), ("hidden",), role))
        if not advancing and name in draft.states:
            draft.report(
                "LG110",
                f"{name!r} is a state: eq.let cannot define it",
                "give this value a name of its own"
                if name in draft.next_values
                else f"use eq.next({name!r}, ...), or rename one",
            )
            draft.excused.add(name)
            draft.read(expression)
            return draft.poison(Value(name, draft.states[name].dims, role))
        found = draft.check(expression)
        if found and dims is not None:
            found = self._fit(name, found, dims)
        free = advancing or draft.check_name(name)
        value = Value(name, dims if dims is not None else found.dims if found else ("hidden",), role)
        if free:
            draft.places[name] = caller()
        if not found or not free:
            return draft.poison(value)
        draft.define(value, found, description)
        return value

    def _fit(self, name: str, found: Checked, dims: Dims) -> Checked | None:
        """A state's next value if it has the state's dimensions or broadcasts to them, else None after a report."""
        extra = [dim for dim in found.dims if dim not in dims]
        if found.dims == dims or not (extra or isinstance(found.tree, Operation)):
            return found
        if extra:
            close = [match for dim in extra for match in difflib.get_close_matches(dim, dims, n=1)]
            hint = f"remove {', '.join(extra)} with a product `@` or with sum_over"
            hint = f"did you mean {close[0]!r}?" if close else hint
        elif {*found.dims} == {*dims}:
            hint = "transpose it, or exchange the operands of outer"
        else:
            hint = f"combine it with a value that has {', '.join(dim for dim in dims if dim not in found.dims)}"
        self._draft.report(
            "LG102", f"state {name!r} has dimensions {spell(dims)}, its next value {spell(found.dims)}", hint
        )
        return None

    def _against_affine(
        self, name: str, bias: Any, terms: Mapping[str, Any], diagonal: Any
    ) -> Iterator[tuple[str, str, str]]:
        """What speaks against the arguments of an affine map: code, message and hint of each mistake."""
        said, places = f"affine({name!r})", self._draft.places
        if f"a_{name}" in self._maps:
            before = places[f"a_{name}"]
            made = [each for each, place in places.items() if place == before and each.endswith(f"_{name}")]
            yield (
                "LG110",
                f"eq.{said} stands on line {before.line} already: it defines {', '.join(made)}",
                "give this one another name",
            )
        if not isinstance(diagonal, Mapping):
            yield (
                "LG117",
                f"{said}: diagonal={spell_any(diagonal)} names no vectors",
                'give names and what each multiplies: diagonal={"p": c_prev}',
            )
        elif not terms and not diagonal:
            yield "LG117", f"{said} multiplies nothing", "give it a matrix: W=x"
        if bias is not None and not isinstance(bias, str):
            yield "LG117", f"{said}: bias={bias!r} names no bias", "bias='b' names it, bias=None leaves it out"
        elif bias in terms:
            yield "LG117", f"{said}: {bias} is the bias, no matrix", "bias=None leaves it out, bias='c' names it c"

    def _init(self, name: str, init: Any) -> Init:
        if init is None:
            return None
        kind = type(init) if isinstance(init, Uniform | Normal | Constant) else Constant
        (given,) = vars(init).values() if kind is type(init) else (init,)
        try:
            number = math.nan if isinstance(given, str) else float(given)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and (kind is Constant or number >= 0):
            return kind(number)
        self._draft.report(
            "LG119",
            f"the start value of {name} is {spell_any(init)}",
            "give a number, Uniform(bound), Normal(std), or None for uniform in ±1/sqrt(hidden)",
        )
        return None


def _given(dims: tuple[Any, ...], *default: str) -> Dims:
    """The dimensions as given, one by one or in one tuple, or the default if none were."""
    if len(dims) == 1 and isinstance(dims[0], tuple):
        return dims[0]
    return dims or default
