"""The colours of roles.

They are the same on light paper and on dark, which a drawing within a page cannot tell: nodes are filled with light
colours, signs in them are dark, and curves have colours that can be seen on both.
"""

from __future__ import annotations

from lstmgen.derivation.drawing import Role

COLOURS = {
    Role.GATE: "#fbe3a4",
    Role.OPERATION: "#f6c9c4",
    Role.END: "#cfe3f5",
    Role.GRID: "#8a9099",
    Role.CURVE_1: "#cc4546",
    Role.CURVE_2: "#cf7f22",
    Role.CURVE_3: "#2f9674",
    Role.CURVE_4: "#3d83d1",
    Role.REFERENCE: "#82868d",
}
INK = "#1c1e21"
"""Letters in nodes, and all lines and letters on light paper."""
