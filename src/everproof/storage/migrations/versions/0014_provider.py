"""What was signed in to by way of us."""

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables."""
