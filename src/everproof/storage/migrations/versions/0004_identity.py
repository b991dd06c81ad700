"""Tokens that were used and whose key they belong to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the identity room's tables."""
    op.create_table(
        "token_bindings",
        sa.Column("token", sa.LargeBinary(32), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("credential", sa.String(64), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("token_bindings_expires", "token_bindings", ["expires"])
