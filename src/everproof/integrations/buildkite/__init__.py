"""Buildkite: the tokens of its jobs."""
