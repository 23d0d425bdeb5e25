"""Where each stored report was downloaded from, so that it need not be downloaded again."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `report_slice.report_source` and `report_slice.report_etag`."""
    op.execute("""
        ALTER TABLE report_slice
            ADD COLUMN report_source text,
            ADD COLUMN report_etag text,
            ADD CONSTRAINT report_slice_etag_has_source CHECK ((report_etag IS NULL) = (report_source IS NULL));

        COMMENT ON COLUMN report_slice.report_source
            IS 'host and path that the stored revision was downloaded from; empty where the host gave no strong ETag';
        COMMENT ON COLUMN report_slice.report_etag
            IS 'its strong ETag there: while the host says that the file still has it, nothing is downloaded';
    """)
