"""Formats: each prints a document, and knows nothing of cells, notations or SymPy.

A format is an object of :class:`lstmgen.derivation.format.Format`. What all of them share stands beside them: the order
of a formula's pieces and its brackets (:mod:`pieces`), where a long one is broken (:mod:`breaking`), the letters by
their names (:mod:`letters`), what a link points at (:mod:`links`), and the colours of drawings (:mod:`colours`).
"""
