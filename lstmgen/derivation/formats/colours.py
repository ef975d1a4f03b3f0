"""The colours of roles, on light paper and on dark."""

from __future__ import annotations

from lstmgen.derivation.drawing import Role

LIGHT = {
    Role.GATE: "#fbe3a4",
    Role.OPERATION: "#f6c9c4",
    Role.END: "#cfe3f5",
    Role.GRID: "#d9dbe0",
    Role.CURVE_1: "#9e2a2b",
    Role.CURVE_2: "#c8741a",
    Role.CURVE_3: "#2a7f62",
    Role.CURVE_4: "#1f5fa8",
    Role.REFERENCE: "#6c6f75",
}
DARK = {
    Role.GATE: "#6b5514",
    Role.OPERATION: "#7a3a35",
    Role.END: "#274a6b",
    Role.GRID: "#3a3d44",
    Role.CURVE_1: "#ef8b8c",
    Role.CURVE_2: "#f0b36b",
    Role.CURVE_3: "#6fd0ad",
    Role.CURVE_4: "#8bbcf5",
    Role.REFERENCE: "#a9adb5",
}
INK = "#1c1e21"
"""Lines and letters on light paper."""
