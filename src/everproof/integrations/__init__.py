"""Outside systems: a package for each, a file for each interface it fills."""
