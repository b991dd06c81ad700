"""Memberships at the platforms, and notices on their way."""

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the tables."""
