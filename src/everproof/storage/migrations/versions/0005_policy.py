"""The bundles that have ruled."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of the bundles."""
    op.create_table(
        "policy_bundles",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("commit", sa.String(64), nullable=False),
        sa.Column("files", sa.LargeBinary, nullable=False),
        sa.Column("loaded", sa.BigInteger, nullable=False),
    )
