"""What several server processes on one database share."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Nothing yet."""
