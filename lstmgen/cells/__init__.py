"""Built-in cells, one file each, registered through entry points exactly as a third party's are."""
