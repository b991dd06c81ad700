"""Who exists, by which keys, what was issued to whom, and tokens that were used."""

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
    _directory()
    _issued()


def _directory() -> None:
    op.create_table(
        "identity_principals",
        sa.Column("type", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "identity_groups",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "identity_emails",
        sa.Column("email", sa.String(254), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
    )
    op.create_index("identity_emails_principal", "identity_emails", ["type", "id"])
    op.create_table(
        "identity_keys",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("twin", sa.String(64)),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("identity_keys_twin", "identity_keys", ["twin"])
    op.create_index("identity_keys_principal", "identity_keys", ["type", "id"])
    op.create_table(
        "identity_revoked_keys",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("revoked", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
    )
    op.create_table(
        "identity_tickets",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger),
    )


def _issued() -> None:
    table = "identity_credentials"
    op.create_table(
        table,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("parent", sa.String(64)),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("principal", sa.String(512), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("issued", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("audience", sa.String(512)),
        sa.Column("scope", sa.String(8192), nullable=False),
        sa.Column("source", sa.LargeBinary),
        sa.Column("proven", sa.LargeBinary),
        sa.Column("revoked", sa.BigInteger),
        sa.Column("reason", sa.String(256)),
    )
    op.create_index("identity_credentials_parent", table, ["parent"])
    op.create_index("identity_credentials_key", table, ["key"])
    op.create_index("identity_credentials_principal", table, ["type", "principal"])
    revoked = sa.text("revoked IS NOT NULL")
    op.create_index("identity_credentials_revoked", table, ["expires"], sqlite_where=revoked, postgresql_where=revoked)
