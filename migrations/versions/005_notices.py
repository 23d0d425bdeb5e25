"""What people were told of each slice."""

from __future__ import annotations

from alembic import op

revision = "005"
down_revision = "004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create `report_notice`."""
    op.execute("""
        CREATE TABLE report_notice (
            report_date date NOT NULL,
            report_type text COLLATE "C" NOT NULL,
            condition   text NOT NULL,
            told_at     timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT report_notice_pkey PRIMARY KEY (report_date, report_type),
            CONSTRAINT report_notice_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD'))
        );

        COMMENT ON TABLE report_notice
            IS 'The condition of each slice in the last notification about it; no row: no notification was sent, or '
               'the slice has recovered.';
        COMMENT ON COLUMN report_notice.report_date IS 'report date of the slice';
        COMMENT ON COLUMN report_notice.report_type IS 'report type of the slice: LIVE or VOD';
        COMMENT ON COLUMN report_notice.condition IS 'held, failed, withdrawn or late';
        COMMENT ON COLUMN report_notice.told_at IS 'when the notification was sent';
    """)
