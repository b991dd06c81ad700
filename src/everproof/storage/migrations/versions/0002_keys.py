"""The keyring, the data keys and the signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of keys."""
    op.create_table(
        "keys_keyring",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("root", sa.String(64), primary_key=True),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "keys_data",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("about", sa.LargeBinary(32)),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("keyring", sa.Integer, nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("erased", sa.BigInteger),
        sa.UniqueConstraint("about", "number", name="keys_data_about"),
    )
    op.create_table(
        "keys_signing",
        sa.Column("kid", sa.String(64), primary_key=True),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
