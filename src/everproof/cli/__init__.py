"""Doors at the terminal: one file per command family, each imported only when it is called."""
