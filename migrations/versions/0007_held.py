"""Which report is held, so that a person accepts that one and no other."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `report_slice.held_sha256`; say more exactly what identifies a report's origin and how it was read."""
    op.execute("""
        ALTER TABLE report_slice
            ADD COLUMN held_sha256 text,
            ADD CONSTRAINT report_slice_only_held_has_hash CHECK (held_sha256 IS NULL OR state = 'held');

        COMMENT ON COLUMN report_slice.held_sha256
            IS 'hash of the report that is held: --accept takes this one only; empty unless the state is held';
        COMMENT ON COLUMN report_slice.read_as
            IS 'header text and column of each column of the stored revision, as JSON; read otherwise, it is loaded '
               'again';
        COMMENT ON COLUMN report_slice.report_source
            IS 'host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of what the '
               'URL asks for beside its signature; empty where the host gave no strong ETag';
    """)
