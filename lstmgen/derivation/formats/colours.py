"""The colours of roles.

They are the same on light paper and on dark, which a drawing within a page cannot tell: nodes are filled with light
colours, signs in them are dark, and curves have colours of one contrast with both, 4 to 1. That is enough for lines;
words beside them have the page's own ink.
"""

from __future__ import annotations

from lstmgen.derivation.drawing import Role

COLOURS = {
    Role.GATE: "#fbe3a4",
    Role.OPERATION: "#f6c9c4",
    Role.END: "#cfe3f5",
    Role.GRID: "#8a9099",
    Role.CURVE_1: "#cf4e4f",
    Role.CURVE_2: "#ad6a1c",
    Role.CURVE_3: "#2b896a",
    Role.CURVE_4: "#317bce",
    Role.REFERENCE: "#757a81",
}
INK = "#1c1e21"
"""Letters in nodes, and all lines and letters on light paper."""
