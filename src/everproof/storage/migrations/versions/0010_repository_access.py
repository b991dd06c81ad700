"""Tokens of repositories, issued to jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of repositories' tokens."""
    op.create_table(
        "secrets_repository_tokens",
        sa.Column("credential", sa.String(64), primary_key=True),
        sa.Column("parent", sa.String(64), nullable=False),
        sa.Column("host", sa.String(32), nullable=False),
        sa.Column("repository", sa.String(32), nullable=False),
        sa.Column("permissions", sa.String(1024), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("dies", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("token_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("secrets_repository_tokens_state", "secrets_repository_tokens", ["state", "credential"])
    op.create_index("secrets_repository_tokens_parent", "secrets_repository_tokens", ["parent", "state"])
