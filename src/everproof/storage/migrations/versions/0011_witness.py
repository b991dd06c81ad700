"""The logs whose checkpoints are cosigned here, and the cosignatures of our own."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables of witnessing; what was signed last was published, by nobody witnessed."""
    op.create_table(
        "witness_logs",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_published",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("witnessed", sa.Boolean, nullable=False),
        sa.Column("note", sa.LargeBinary, nullable=False),
    )
    op.execute(
        "INSERT INTO ledger_published (size, at, witnessed, note) "
        "SELECT size, at, false, note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1"
    )
