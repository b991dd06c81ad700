"""Memberships at the platforms: what was found when they were last looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the table of organisations."""
    op.create_table(
        "provisioning_organisations",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("looked", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
