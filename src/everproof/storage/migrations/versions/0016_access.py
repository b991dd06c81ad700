"""Requests, approvals, grants and break-glass."""

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the tables."""
