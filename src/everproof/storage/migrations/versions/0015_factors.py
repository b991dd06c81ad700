"""Passkeys, security keys, one-time passwords and recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "factors",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("person", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("credential", sa.LargeBinary(32), unique=True),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(64)),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("factors_person", "factors", ["type", "person"])
    op.create_table(
        "factor_codes",
        sa.Column("factor", sa.String(64), primary_key=True),
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("used", sa.BigInteger),
    )
    op.create_table(
        "factor_handles",
        sa.Column("handle", sa.LargeBinary(32), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("person", sa.String(128), nullable=False),
        sa.UniqueConstraint("type", "person", name="factor_handles_person"),
    )
    op.create_table(
        "factor_attempts",
        sa.Column("type", sa.String(16), primary_key=True),
        sa.Column("person", sa.String(128), primary_key=True),
        sa.Column("method", sa.String(16), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "factor_recoveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("person", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ticket", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("factor_recoveries_person", "factor_recoveries", ["type", "person"])
    op.create_table(
        "factor_vouchers",
        sa.Column("recovery", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(16), primary_key=True),
        sa.Column("person", sa.String(128), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
