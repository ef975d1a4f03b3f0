"""What a user writes: symbols, functions, the equation builder, and the diagnostics about all of them."""
