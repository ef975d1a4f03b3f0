"""Formats: each prints a document, and knows nothing of cells, notations or SymPy.

A format is a function ``render(document, fragment=False) -> str``. What all of them share stands beside them: the order
of a formula's pieces and its brackets (:mod:`pieces`), where a long one is broken (:mod:`breaking`), the letters by
their names (:mod:`letters`) and what a link points at (:mod:`links`).
"""
