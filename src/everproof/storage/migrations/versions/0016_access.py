"""Requests, approvals, grants and break-glass."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "access_requests",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("requester", sa.String(128), nullable=False),
        sa.Column("action", sa.String(80), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("resource", sa.String(256), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("answer_by", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided", sa.BigInteger),
        sa.Column("by", sa.String(128)),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("message", sa.String(512), nullable=False),
        sa.Column("grant", sa.String(64)),
    )
    op.create_index("access_requests_requester", "access_requests", ["requester"])
    op.create_index("access_requests_state", "access_requests", ["state", "answer_by"])
    op.create_table(
        "access_answers",
        sa.Column("request", sa.String(64), primary_key=True),
        sa.Column("by", sa.String(128), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "access_grants",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("break_glass", sa.Boolean, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("access_grants_request", "access_grants", ["request"])
    op.create_index("access_grants_principal", "access_grants", ["principal"])
    op.create_index("access_grants_ended", "access_grants", ["ended"])
    op.create_table(
        "access_incidents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("opened", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("closed", sa.BigInteger),
        sa.Column("closed_by", sa.String(128)),
    )
    op.create_table(
        "access_kits",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("access_kits_state", "access_kits", ["state"])
    op.create_table(
        "access_halves",
        sa.Column("kit", sa.String(64), primary_key=True),
        sa.Column("person", sa.String(128), primary_key=True),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
    )
