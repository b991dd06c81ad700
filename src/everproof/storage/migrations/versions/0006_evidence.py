"""When commits were first received, and the push certificates that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the evidence room's tables."""
    op.create_table(
        "evidence_receipts",
        sa.Column("oid", sa.String(64), primary_key=True),
        sa.Column("received", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "evidence_certificates",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("ref", sa.String(1024), primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_evidence_certificates_expires", "evidence_certificates", ["expires"])
