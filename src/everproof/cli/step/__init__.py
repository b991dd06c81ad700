"""`everproof run`: one step of a pipeline. The standard library and one curve, so that it starts at once."""
