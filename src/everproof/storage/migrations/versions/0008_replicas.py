"""What several server processes on one database share: nothing more than what was there."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing: the feed and the marks are enough."""
