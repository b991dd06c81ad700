"""GitLab: the tokens of its CI/CD jobs."""
