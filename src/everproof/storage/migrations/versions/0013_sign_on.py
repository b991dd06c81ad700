"""Whom a sign-on provider means, who has signed out there, and what it wants to see again then."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sign_on_links",
        sa.Column("issuer", sa.String(512), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("sign_on_links_principal", "sign_on_links", ["type", "id"])
    op.create_table(
        "sign_on_signed_out",
        sa.Column("name", sa.LargeBinary(32), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("sign_on_signed_out_expires", "sign_on_signed_out", ["expires"])
    op.create_table(
        "sign_on_hints",
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("sign_on_hints_expires", "sign_on_hints", ["expires"])
