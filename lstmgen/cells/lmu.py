"""The Legendre memory unit."""

from mpmath import expm, matrix, workdps

from lstmgen.api import OptionError, cell, tanh


@cell("lmu", reference="Voelker, Kajić & Eliasmith, NeurIPS 2019")
def lmu(eq, *, order=6, theta=32.0):
    """Legendre memory unit: a linear memory that holds the last `theta` steps of one signal.

    The memory holds the coefficients of the signal's first `order` Legendre polynomials; its matrices are fixed, those
    of the continuous system, discretised with a zero-order hold.
    """
    if order < 1 or theta <= 0:
        raise OptionError(f"no memory has order {order} over {theta} steps", "order is 1 or more, theta positive")
    x = eq.input("x")
    h_prev, m_prev = eq.state("h"), eq.state("m", "memory")
    A_of, B_of = legendre_memory(order, theta)
    A = eq.constant("A", A_of, "memory", "memory", description="how the memory moves")
    B = eq.constant("B", B_of, "memory", description="how the signal enters it")

    e_x = eq.parameter("e_x", "features", description="encoder of the input")
    e_h = eq.parameter("e_h", "hidden", description="encoder of the state")
    e_m = eq.parameter("e_m", "memory", init=0.0, description="encoder of the memory")
    u = eq.let("u", e_x @ x + e_h @ h_prev + e_m @ m_prev, "signal")
    m = eq.next("m", A @ m_prev + B * u, "memory")
    h = eq.next("h", tanh(eq.affine("h", bias=None, W=x, U=h_prev, V=m)), "hidden state")
    eq.output(h)


def legendre_memory(order, theta):
    """The memory's matrices (order, order) and (order,), for steps of length 1, exact to the last bit of a float."""
    with workdps(50):  # so that the same floats come out everywhere
        system = matrix(order + 1)
        for i in range(order):
            for j in range(order):
                system[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
            system[i, order] = (2 * i + 1) * (-1) ** i
        held = expm(system / theta)
        return [[float(held[i, j]) for j in range(order)] for i in range(order)], [
            float(held[i, order]) for i in range(order)
        ]
