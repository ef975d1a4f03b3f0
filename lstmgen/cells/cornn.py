"""The coupled oscillatory RNN."""

from lstmgen.api import cell, tanh


@cell("cornn", reference="Rusch & Mishra, ICLR 2021 (arXiv 2010.00951)")
def cornn(eq, *, dt=0.042, gamma=2.7, epsilon=4.7):
    """Coupled oscillatory RNN: units are driven, damped oscillators, y their positions and z their velocities.

    `dt` is the time step, `gamma` the stiffness and `epsilon` the damping; the defaults are the paper's for sequential
    MNIST.
    """
    x = eq.input("x")
    y_prev, z_prev = eq.state("y"), eq.state("z")

    force = eq.let("u", tanh(eq.affine("u", V=x, W=y_prev, U=z_prev)), "driving force")
    z = eq.next("z", z_prev + dt * (force - gamma * y_prev - epsilon * z_prev), "velocity")
    y = eq.next("y", y_prev + dt * z, "position")
    eq.output(y)
