"""The notations that come with lstmgen, one a file; each is registered as those of other packages are."""
