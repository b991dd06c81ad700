"""Azure DevOps: the tokens of its pipelines."""
