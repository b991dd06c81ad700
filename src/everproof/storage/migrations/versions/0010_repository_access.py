"""Tokens of repositories, issued to jobs."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Nothing yet."""
