"""Views for readers: the report's own shape, and daily figures."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create `watch_time_report` and `watch_time_daily`."""
    op.execute("""
        CREATE VIEW watch_time_report AS
        SELECT watch_time.report_date,
               watch_time.report_type,
               content.title,
               watch_time.content_id,
               watch_time.streaming_type,
               content.created_at,
               watch_time.customer_id,
               watch_time.watch_seconds
        FROM watch_time
        LEFT JOIN content USING (content_id);

        COMMENT ON VIEW watch_time_report
            IS 'The columns of BlendVision''s CSV, with the newest title of each content.';

        CREATE VIEW watch_time_daily AS
        SELECT report_date,
               report_type,
               streaming_type,
               count(*) AS rows,
               count(DISTINCT customer_id) FILTER (WHERE customer_id <> '') AS customers,
               sum(watch_seconds) AS watch_seconds
        FROM watch_time
        GROUP BY report_date, report_type, streaming_type;

        COMMENT ON VIEW watch_time_daily
            IS 'Rows, named customers and seconds per day, report and streaming type.';
    """)
