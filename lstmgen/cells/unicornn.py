"""The undamped independent controlled oscillatory RNN."""

from lstmgen.api import Uniform, cell, sigmoid, tanh


@cell("unicornn", reference="Rusch & Mishra, ICML 2021 (arXiv 2103.05487)")
def unicornn(eq, *, dt=0.03, alpha=0.9):
    """Undamped independent controlled oscillatory RNN: each unit is an oscillator by itself.

    y are the units' positions, z their velocities. `dt` is the largest time step, of which every unit learns a
    fraction, and `alpha` the stiffness; both differ widely from task to task.
    """
    x = eq.input("x")
    y_prev, z_prev = eq.state("y"), eq.state("z")

    c = eq.parameter("c", "hidden", init=Uniform(0.1), description="logit of the fraction of dt")
    step = eq.let("s", dt * sigmoid(c), "time step of each unit")
    force = eq.let("u", tanh(eq.affine("u", bias_init=0.0, V=x, diagonal={"w": y_prev})), "driving force")
    z = eq.next("z", z_prev - step * (force + alpha * y_prev), "velocity")
    y = eq.next("y", y_prev + step * z, "position")
    eq.output(y)
