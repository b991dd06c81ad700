"""What was signed in to by way of us."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "provider_codes",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger),
        sa.Column("replayed", sa.Boolean, nullable=False),
        sa.Column("credential", sa.String(64)),
        sa.Column("sign_in", sa.String(64)),
    )
    op.create_index("provider_codes_expires", "provider_codes", ["expires"])
    op.create_table(
        "provider_pushed",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("provider_pushed_expires", "provider_pushed", ["expires"])
    op.create_table(
        "provider_consents",
        sa.Column("user", sa.String(512), primary_key=True),
        sa.Column("client", sa.String(64), primary_key=True),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "provider_questions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("provider_questions_expires", "provider_questions", ["expires"])
    op.create_table(
        "provider_sign_ins",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("user", sa.String(512), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("told", sa.BigInteger),
    )
    op.create_index("provider_sign_ins_session", "provider_sign_ins", ["session", "client"])
    op.create_index("provider_sign_ins_user", "provider_sign_ins", ["user"])
    op.create_index("provider_sign_ins_expires", "provider_sign_ins", ["expires"])
    op.create_table(
        "provider_devices",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("user_code", sa.String(16), nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("session", sa.String(64)),
        sa.Column("pace", sa.Integer, nullable=False),
        sa.Column("polled", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("user_code", name="provider_devices_user_code"),
    )
    op.create_index("provider_devices_expires", "provider_devices", ["expires"])
    op.create_table(
        "provider_guesses",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("user", sa.String(512), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("provider_guesses_expires", "provider_guesses", ["expires"])
    op.create_table(
        "provider_renewals",
        sa.Column("session", sa.String(64), primary_key=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("current", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32)),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("provider_renewals_expires", "provider_renewals", ["expires"])
