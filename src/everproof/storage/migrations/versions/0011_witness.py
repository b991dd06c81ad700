"""The logs whose checkpoints are cosigned here, and the cosignatures of our own."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nothing yet."""
