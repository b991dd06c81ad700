"""Sessions of people."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the table of sessions."""
    op.create_table(
        "identity_sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("provider", sa.String(128), nullable=False),
        sa.Column("provider_subject", sa.String(512), nullable=False),
        sa.Column("provider_session", sa.String(512), nullable=False),
        sa.Column("idle_until", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("identity_sessions_principal", "identity_sessions", ["type", "principal"])
    op.create_index("identity_sessions_provider", "identity_sessions", ["provider", "provider_subject"])
    op.create_index("identity_sessions_idle", "identity_sessions", ["idle_until"])
