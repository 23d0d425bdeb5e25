"""The fact table, partitioned by slice, and the contents that it names."""

from __future__ import annotations

from alembic import op

revision = "001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create `watch_time` without a partition (each load attaches its own) and `content`."""
    op.execute("""
        CREATE TABLE watch_time (
            customer_id    text COLLATE "C" NOT NULL,
            content_id     text COLLATE "C" NOT NULL,
            streaming_type text COLLATE "C" NOT NULL,
            report_date    date NOT NULL,
            report_type    text COLLATE "C" NOT NULL,
            watch_seconds  numeric NOT NULL,
            CONSTRAINT watch_time_pkey PRIMARY KEY (customer_id, content_id, streaming_type, report_date, report_type),
            CONSTRAINT watch_time_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD')),
            CONSTRAINT watch_time_watch_seconds_not_negative CHECK (watch_seconds >= 0)
        ) PARTITION BY RANGE (report_date, report_type);

        COMMENT ON TABLE watch_time
            IS 'Watch time: one row per report date, report type, content item, customer and streaming type.';
        COMMENT ON COLUMN watch_time.customer_id IS 'the service''s own user id; empty string for anonymous viewers';
        COMMENT ON COLUMN watch_time.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN watch_time.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time.report_date IS 'day on which the views began, in the source''s time zone';
        COMMENT ON COLUMN watch_time.report_type IS 'report that contains the row: LIVE or VOD';
        COMMENT ON COLUMN watch_time.watch_seconds IS 'seconds watched, paused time excluded; exact';

        CREATE TABLE content (
            content_id     text COLLATE "C" NOT NULL,
            title          text NOT NULL,
            created_at     timestamptz,
            first_seen     date NOT NULL,
            last_seen      date NOT NULL,
            last_seen_type text COLLATE "C" NOT NULL,
            CONSTRAINT content_pkey PRIMARY KEY (content_id)
        );

        COMMENT ON TABLE content IS 'What was watched: one row per content item.';
        COMMENT ON COLUMN content.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN content.title IS 'title in the report with the newest date';
        COMMENT ON COLUMN content.created_at IS 'when the content item was created; NULL if unreadable';
        COMMENT ON COLUMN content.first_seen IS 'oldest report date that contains the item';
        COMMENT ON COLUMN content.last_seen IS 'newest report date that contains the item';
        COMMENT ON COLUMN content.last_seen_type
            IS 'report of that date that the title is from; VOD takes precedence over LIVE';
    """)
