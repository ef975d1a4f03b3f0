"""An example of a package that adds a cell and a back end to lstmgen."""
