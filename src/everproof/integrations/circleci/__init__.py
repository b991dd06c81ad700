"""CircleCI: the tokens of its jobs."""
