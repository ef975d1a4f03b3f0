"""The printed derivation: the steps of the calculus, told in order."""
