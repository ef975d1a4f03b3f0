"""Dimensions: tuples of names."""

Dims = tuple[str, ...]


def spell(dims: Dims) -> str:
    """Dimensions as they are printed: ``(hidden, features)``; a scalar is ``()``."""
    return "(" + ", ".join(dims) + ("," if len(dims) == 1 else "") + ")"


def last_index(dims: Dims, dim: str) -> int:
    """The place of a dimension; of one that is repeated, the last."""
    return len(dims) - 1 - dims[::-1].index(dim)
