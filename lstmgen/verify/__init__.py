"""The proof that equations, interpreter, emitted code and finite differences agree."""
