"""What must still be done: jobs, schedules and effects."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing yet."""
