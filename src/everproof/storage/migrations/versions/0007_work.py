"""What must still be done: jobs, schedules and effects; and whom containment holds."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the work room's tables, and those of containment."""
    op.create_table(
        "work_jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("verb", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("planned", sa.BigInteger, nullable=False),
        sa.Column("every", sa.BigInteger),
        sa.Column("occurrence", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("recorded", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("error", sa.String(512), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("key", name="work_jobs_key"),
    )
    op.create_index("work_jobs_due", "work_jobs", ["state", "verb", "due"])
    op.create_table(
        "work_counters",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.execute("insert into work_counters (name, value) values ('fence', 0)")
    op.create_table(
        "work_effects",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("verb", sa.String(64), nullable=False),
        sa.Column("subject_type", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("job", sa.String(64)),
        sa.Column("undo_asked", sa.Boolean, nullable=False),
        sa.Column("touches", sa.BigInteger, nullable=False),
        sa.Column("does", sa.String(1024), nullable=False),
        sa.Column("undoes", sa.String(1024), nullable=False),
        sa.Column("needs", sa.Integer, nullable=False),
        sa.Column("by_type", sa.String(64), nullable=False),
        sa.Column("by", sa.String(512), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("error", sa.String(512), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("key", name="work_effects_key"),
    )
    op.create_index("work_effects_state", "work_effects", ["state", "id"])
    op.create_table(
        "work_approvals",
        sa.Column("effect", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(512), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "identity_held",
        sa.Column("type", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(512), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
    )
    op.create_table(
        "response_containments",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("target", sa.String(512), nullable=False),
        sa.Column("reason", sa.String(256), nullable=False),
        sa.Column("by_type", sa.String(64), nullable=False),
        sa.Column("by", sa.String(512), nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger),
        sa.Column("credentials", sa.BigInteger, nullable=False),
        sa.Column("errands", sa.BigInteger, nullable=False),
    )
    op.create_index("response_containments_target", "response_containments", ["type", "target"])
