"""GitHub: the tokens of its Actions."""
