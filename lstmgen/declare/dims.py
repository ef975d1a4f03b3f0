"""Dimensions: tuples of names."""

Dims = tuple[str, ...]


def spell(dims: Dims) -> str:
    """Dimensions as they are printed: ``(hidden, features)``; a scalar is ``()``."""
    return "(" + ", ".join(dims) + ("," if len(dims) == 1 else "") + ")"
