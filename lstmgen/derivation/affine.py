"""Affine maps among the equations of a step: sums of matrices times vectors, with a bias."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sympy import Add, Expr

from lstmgen.calculus.graph import Graph
from lstmgen.calculus.operations import Contract
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.naming import Names, Stem
from lstmgen.derivation.notation import BIAS, INPUT_WEIGHTS, RECURRENT_WEIGHTS, Affine

MATRIX_TIMES_VECTOR = ((0, 1), (1,), (0,))


@dataclass(frozen=True)
class AffineMap:
    """``equation``: the sum of ``weights[k] @ operands[k]``, of ``bias`` where there is one, and of ``rest``."""

    equation: Equation
    weights: tuple[Value, ...]
    operands: tuple[Value, ...]
    bias: Value | None
    rest: tuple[Expr, ...]


def affine_maps(primal: Graph) -> dict[Value, AffineMap]:
    """The affine maps of a step by their targets."""
    definitions = primal.definitions()
    found = {}
    for equation in primal.equations:
        if equation.target.role == Role.INTERMEDIATE and isinstance(equation.expression, Contract):
            continue  # a product that is read as part of a sum
        weights, operands, rest = [], [], []
        bias: Value | None = None
        for term in equation.expression.args if isinstance(equation.expression, Add) else (equation.expression,):
            unnamed = term in definitions and term.role == Role.INTERMEDIATE
            product = definitions[term].expression if unnamed else term
            if isinstance(product, Contract) and product.axes == MATRIX_TIMES_VECTOR and _is_parameter(product.args[0]):
                weights.append(product.args[0])
                operands.append(product.args[1])
            elif bias is None and _is_parameter(term) and term.dims == equation.target.dims:
                bias = term
            else:
                rest.append(term)
        if weights:
            found[equation.target] = AffineMap(equation, tuple(weights), tuple(operands), bias, tuple(rest))
    return found


def _is_parameter(expression: Expr) -> bool:
    return isinstance(expression, Value) and expression.role == Role.PARAMETER


@dataclass(frozen=True)
class Joined:
    """An affine map as one matrix times its operands in one vector: ``W [h, x] + b``."""

    matrix: Stem
    weights: tuple[Value, ...]
    operands: tuple[Value, ...]
    bias: Value | None


def joined_maps(primal: Graph, names: Names, roles: dict[Value, str]) -> dict[Value, Joined]:
    """The affine maps that the notation writes with one matrix, the recurrent operand first."""
    notation = names.notation
    if notation.affine is not Affine.JOINED:
        return {}
    found = {}
    for target, each in affine_maps(primal).items():
        by_role = {roles.get(weight, ""): k for k, weight in enumerate(each.weights)}
        if each.rest or len(each.weights) != 2 or set(by_role) != {RECURRENT_WEIGHTS, INPUT_WEIGHTS}:
            continue
        order = [by_role[RECURRENT_WEIGHTS], by_role[INPUT_WEIGHTS]]
        stem = names.stems[each.weights[order[0]]]
        gate = names.gates.get(each.weights[order[0]])
        if gate is None:
            continue
        matrix = Stem(stem.base, gate, stem.accent, stem.style)
        weights, operands = (tuple(values[k] for k in order) for values in (each.weights, each.operands))
        found[target] = Joined(matrix, weights, operands, each.bias)
    taken = Counter([*names.stems.values(), *(each.matrix for each in found.values())])
    return {target: each for target, each in found.items() if taken[each.matrix] == 1}


@dataclass(frozen=True)
class Paired:
    """A bias that is written as one with each matrix of its map: their sum, as far as gradients can tell."""

    weights: tuple[Value, ...]
    stems: tuple[Stem, ...]


def paired_biases(primal: Graph, names: Names, roles: dict[Value, str]) -> dict[Value, Paired]:
    """The biases, by their declared symbols, that the notation writes with the matrices they belong to."""
    notation = names.notation
    if notation.affine is not Affine.PAIRED:
        return {}
    uses = primal.uses()
    found: dict[Value, Paired] = {}
    for each in affine_maps(primal).values():
        known = [roles.get(weight, "") for weight in each.weights]
        if each.bias is None or len(uses[each.bias]) > 1 or not set(known) <= {INPUT_WEIGHTS, RECURRENT_WEIGHTS}:
            continue
        weights = [names.stems[weight] for weight in each.weights]
        if len(set(known)) == len(known) and all(weight in names.gates for weight in each.weights):
            base = notation.weights[BIAS].base if BIAS in notation.weights else names.stems[each.bias].base
            found[each.bias] = Paired(each.weights, tuple(Stem(base, stem.below) for stem in weights))
    taken = Counter([*names.stems.values(), *(stem for each in found.values() for stem in each.stems)])
    return {bias: each for bias, each in found.items() if all(taken[stem] == 1 for stem in each.stems)}
