"""Which command ran in which stage, and how it ended."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Nothing yet."""
