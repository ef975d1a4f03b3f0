"""Decides where and in what order the equations of a cell are computed, and lowers them to loop programs."""
