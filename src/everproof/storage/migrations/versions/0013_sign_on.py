"""Whom a sign-on provider means, and sign-ons that are under way."""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables."""
