"""Passkeys, security keys, one-time passwords and recovery codes."""

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the tables."""
