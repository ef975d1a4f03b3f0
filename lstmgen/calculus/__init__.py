"""Graphs of equations, their evaluation, and reverse-mode differentiation of them."""
