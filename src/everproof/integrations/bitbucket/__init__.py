"""Bitbucket: the tokens of its Pipelines."""
