"""Long expressive memory."""

from lstmgen.api import cell, sigmoid, tanh


@cell("lem", reference="Rusch, Mishra, Erichson & Mahoney, ICLR 2022 (arXiv 2110.04744)")
def lem(eq, *, dt=1.0):
    """Long expressive memory: two coupled states, each with a time step of its own that a gate sets, `dt` at most."""
    x = eq.input("x")
    y_prev, z_prev = eq.state("y"), eq.state("z")

    dt_z = eq.let("dt_z", dt * sigmoid(eq.affine("dt_z", W=x, U=y_prev)), "time step of z")
    dt_y = eq.let("dt_y", dt * sigmoid(eq.affine("dt_y", W=x, U=y_prev)), "time step of y")
    z = eq.next("z", (1 - dt_z) * z_prev + dt_z * tanh(eq.affine("z", W=x, U=y_prev)), "fast state")
    y = eq.next("y", (1 - dt_y) * y_prev + dt_y * tanh(eq.affine("y", W=x, U=z)), "slow state, the output")
    eq.output(y)
