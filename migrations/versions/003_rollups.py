"""Rollups: what analysts ask for, summed and counted once."""

from __future__ import annotations

from alembic import op

revision = "003"
down_revision = "002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create `content_daily`, which loads write, and `customer_count`, which is filled after them."""
    op.execute("""
        CREATE TABLE content_daily (
            report_date       date NOT NULL,
            report_type       text COLLATE "C" NOT NULL,
            content_id        text COLLATE "C" NOT NULL,
            streaming_type    text COLLATE "C" NOT NULL,
            customers         bigint NOT NULL,
            watch_seconds     numeric NOT NULL,
            anonymous_seconds numeric NOT NULL,
            has_anonymous     boolean NOT NULL,
            CONSTRAINT content_daily_pkey PRIMARY KEY (report_date, report_type, content_id, streaming_type),
            CONSTRAINT content_daily_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD'))
        );
        CREATE INDEX content_daily_content_id ON content_daily (content_id);

        COMMENT ON TABLE content_daily
            IS 'Totals per report date, report type, content item and streaming type, updated in the transaction that '
               'changes the facts.';
        COMMENT ON COLUMN content_daily.report_date IS 'day on which the views began, in the source''s time zone';
        COMMENT ON COLUMN content_daily.report_type IS 'report that contains the rows: LIVE or VOD';
        COMMENT ON COLUMN content_daily.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN content_daily.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN content_daily.customers
            IS 'number of identified customers, which is also the number of their rows in watch_time';
        COMMENT ON COLUMN content_daily.watch_seconds IS 'seconds watched, anonymous viewers included; exact';
        COMMENT ON COLUMN content_daily.anonymous_seconds IS 'seconds watched by anonymous viewers; exact';
        COMMENT ON COLUMN content_daily.has_anonymous IS 'whether watch_time has a row for anonymous viewers';

        CREATE TABLE customer_count (
            period         text NOT NULL,
            start_date     date NOT NULL,
            report_type    text COLLATE "C" NOT NULL,
            streaming_type text COLLATE "C" NOT NULL,
            content_id     text COLLATE "C" NOT NULL,
            customers      bigint NOT NULL,
            facts_version  numeric NOT NULL,
            CONSTRAINT customer_count_pkey PRIMARY KEY (period, start_date, report_type, streaming_type, content_id),
            CONSTRAINT customer_count_period_is_known CHECK (period IN ('day', 'month'))
        );

        COMMENT ON TABLE customer_count
            IS 'Distinct customers, which cannot be summed: counted after loads. Valid while facts_version is the sum '
               'of facts_version of the period''s slices.';
        COMMENT ON COLUMN customer_count.period IS 'day or month';
        COMMENT ON COLUMN customer_count.start_date IS 'the day, or the first day of the month';
        COMMENT ON COLUMN customer_count.report_type IS 'LIVE or VOD; empty string: both';
        COMMENT ON COLUMN customer_count.streaming_type IS 'VOD, LIVE or LIVE_TO_VOD; empty string: all';
        COMMENT ON COLUMN customer_count.content_id IS 'one content item; empty string: all';
        COMMENT ON COLUMN customer_count.customers IS 'distinct identified customers; exact';
        COMMENT ON COLUMN customer_count.facts_version
            IS 'sum of facts_version of the period''s slices when they were counted';
    """)
