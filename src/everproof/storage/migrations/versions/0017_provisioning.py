"""What provisioning keeps of people and groups."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the tables."""
    table = "provisioning_resources"
    op.create_table(
        table,
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("provisioner", sa.String(128), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("key", sa.String(512), nullable=False),
        sa.Column("name", sa.String(512), nullable=False),
        sa.Column("external", sa.String(512)),
        sa.Column("record", sa.String(128), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("provisioning_resources_key", table, ["provisioner", "what", "key"], unique=True)
    op.create_index("provisioning_resources_external", table, ["provisioner", "what", "external"], unique=True)
    op.create_index("provisioning_resources_record", table, ["what", "record"], unique=True)
    op.create_table(
        "provisioning_members",
        sa.Column("team", sa.String(64), primary_key=True),
        sa.Column("member", sa.String(64), primary_key=True),
    )
    op.create_index("provisioning_members_member", "provisioning_members", ["member"])
