"""The signs of letters, accents and relations in Unicode."""

from __future__ import annotations

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "omicron": "ο", "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ",
    "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ",
    "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
"""Greek letters by their English names, by which formulas know them."""

ACCENTS = {"tilde": "\u0303", "bar": "\u0304", "hat": "\u0302"}
"""Combining characters by the names of accents."""

RELATIONS = {
    "=": "=", "<": "<", ">": ">", "<=": "≤", ">=": "≥", "in": "∈", "approx": "≈", ":=": "≔", "!=": "≠", "and": "∧",
    "or": "∨",
}  # fmt: skip
"""Signs of relations in Unicode; any other sign is words."""


def sign(base: str) -> str:
    """The Unicode sign of a base: a Greek letter by its name; anything else is itself."""
    return GREEK.get(base, base)
