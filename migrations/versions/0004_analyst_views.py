"""Views for analysts: months, contents, customers and coverage; and a comment on everything that had none."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the views, and say what every table, view and column holds."""
    _create_monthly_views()
    _create_coverage()
    _comment_views()
    _comment_tables()


def _create_monthly_views() -> None:
    """Every month is looked up by its bounds: asked for one, Postgres opens that month's partitions and no others.

    Grouping by a month that is computed from each row would read all of them.
    """
    op.execute("""
        CREATE VIEW watch_time_monthly AS
        SELECT months.month,
               figures.*
        FROM (
            SELECT DISTINCT date_trunc('month', report_date::timestamp)::date AS month
            FROM report_slice
            WHERE revision > 0
        ) AS months
        CROSS JOIN LATERAL (
            SELECT report_type,
                   streaming_type,
                   count(*) AS rows,
                   count(DISTINCT customer_id) FILTER (WHERE customer_id <> '') AS customers,
                   sum(watch_seconds) AS watch_seconds
            FROM watch_time
            WHERE report_date >= months.month
              AND report_date < (months.month + interval '1 month')::date
            GROUP BY report_type, streaming_type
        ) AS figures;

        CREATE VIEW watch_time_by_content AS
        SELECT months.month,
               figures.content_id,
               content.title,
               figures.first_date,
               figures.last_date,
               figures.rows,
               figures.customers,
               figures.watch_seconds
        FROM (
            SELECT DISTINCT date_trunc('month', report_date::timestamp)::date AS month
            FROM report_slice
            WHERE revision > 0
        ) AS months
        CROSS JOIN LATERAL (
            SELECT content_id,
                   min(report_date) AS first_date,
                   max(report_date) AS last_date,
                   count(*) AS rows,
                   count(DISTINCT customer_id) FILTER (WHERE customer_id <> '') AS customers,
                   sum(watch_seconds) AS watch_seconds
            FROM watch_time
            WHERE report_date >= months.month
              AND report_date < (months.month + interval '1 month')::date
            GROUP BY content_id
        ) AS figures
        LEFT JOIN content USING (content_id);

        CREATE VIEW watch_time_by_customer AS
        SELECT months.month,
               figures.*
        FROM (
            SELECT DISTINCT date_trunc('month', report_date::timestamp)::date AS month
            FROM report_slice
            WHERE revision > 0
        ) AS months
        CROSS JOIN LATERAL (
            SELECT customer_id,
                   count(DISTINCT report_date) AS days,
                   count(DISTINCT content_id) AS contents,
                   sum(watch_seconds) AS watch_seconds
            FROM watch_time
            WHERE report_date >= months.month
              AND report_date < (months.month + interval '1 month')::date
              AND customer_id <> ''
            GROUP BY customer_id
        ) AS figures;
    """)


def _create_coverage() -> None:
    """A day is due two days after it, and asked for again for five days more: the settings' defaults."""
    op.execute("""
        CREATE VIEW report_coverage AS
        SELECT days.report_date,
               types.report_type,
               coalesce(report_slice.state, 'never tried') AS state,
               coalesce(report_slice.revision, 0) AS revision,
               coalesce(report_slice.rows_stored, 0) AS rows,
               coalesce(report_slice.watch_seconds, 0) AS watch_seconds,
               report_slice.loaded_at,
               report_slice.reason,
               report_slice.last_check,
               days.report_date >= days.newest_due - 5 AS provisional
        FROM (
            SELECT known.oldest + number AS report_date,
                   known.newest_due
            FROM (
                SELECT min(report_date) AS oldest,
                       max(report_date) AS newest,
                       (now() AT TIME ZONE 'UTC')::date - 2 AS newest_due
                FROM report_slice
            ) AS known
            CROSS JOIN LATERAL generate_series(0, greatest(known.newest, known.newest_due) - known.oldest) AS number
        ) AS days
        CROSS JOIN (VALUES ('LIVE'), ('VOD')) AS types (report_type)
        LEFT JOIN report_slice USING (report_date, report_type);
    """)


def _comment_views() -> None:
    op.execute("""
        COMMENT ON COLUMN watch_time_report.report_date
            IS 'the day on which the views began, in the source''s zone';
        COMMENT ON COLUMN watch_time_report.report_type IS 'the report that holds the row: LIVE or VOD';
        COMMENT ON COLUMN watch_time_report.title IS 'the title in the report of the newest date seen';
        COMMENT ON COLUMN watch_time_report.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN watch_time_report.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_report.created_at
            IS 'when the content was created; empty where unreadable';
        COMMENT ON COLUMN watch_time_report.customer_id
            IS 'the service''s own user id; empty text for anonymous viewers';
        COMMENT ON COLUMN watch_time_report.watch_seconds IS 'seconds watched, paused time excluded; exact';

        COMMENT ON COLUMN watch_time_daily.report_date
            IS 'the day on which the views began, in the source''s zone';
        COMMENT ON COLUMN watch_time_daily.report_type IS 'the report that holds the rows: LIVE or VOD';
        COMMENT ON COLUMN watch_time_daily.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_daily.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_daily.customers
            IS 'different named customers; not to be added up over days or types, anonymous viewers left out';
        COMMENT ON COLUMN watch_time_daily.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_monthly
            IS 'Rows, named customers and seconds per month, report and streaming type.';
        COMMENT ON COLUMN watch_time_monthly.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_monthly.report_type IS 'the report that holds the rows: LIVE or VOD';
        COMMENT ON COLUMN watch_time_monthly.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_monthly.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_monthly.customers
            IS 'different named customers; not to be added up over months or types, anonymous viewers left out';
        COMMENT ON COLUMN watch_time_monthly.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_by_content
            IS 'What each content was watched per month, over both reports and all streaming types.';
        COMMENT ON COLUMN watch_time_by_content.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_by_content.content_id
            IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN watch_time_by_content.title IS 'the title in the report of the newest date seen';
        COMMENT ON COLUMN watch_time_by_content.first_date
            IS 'oldest report date of the month that has the content; over all time: content.first_seen';
        COMMENT ON COLUMN watch_time_by_content.last_date
            IS 'newest report date of the month that has the content; over all time: content.last_seen';
        COMMENT ON COLUMN watch_time_by_content.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_by_content.customers
            IS 'different named customers; not to be added up over months or contents, anonymous viewers left out';
        COMMENT ON COLUMN watch_time_by_content.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_by_customer
            IS 'What each named customer watched per month; anonymous viewers are left out.';
        COMMENT ON COLUMN watch_time_by_customer.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_by_customer.customer_id IS 'the service''s own user id; never empty';
        COMMENT ON COLUMN watch_time_by_customer.days IS 'report dates on which the customer watched';
        COMMENT ON COLUMN watch_time_by_customer.contents IS 'different contents watched';
        COMMENT ON COLUMN watch_time_by_customer.watch_seconds IS 'seconds watched';

        COMMENT ON VIEW report_coverage
            IS 'One row per slice from the oldest one known to the newest one due (two days before today in UTC; '
               'further where newer ones are known), also of those that were never tried.';
        COMMENT ON COLUMN report_coverage.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_coverage.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_coverage.state
            IS 'loaded, unavailable, empty, held, failed or never tried; loaded and empty are complete';
        COMMENT ON COLUMN report_coverage.revision
            IS 'the revision that is stored; 0: none was ever accepted';
        COMMENT ON COLUMN report_coverage.rows IS 'rows of the slice in watch_time';
        COMMENT ON COLUMN report_coverage.watch_seconds IS 'their sum';
        COMMENT ON COLUMN report_coverage.loaded_at IS 'when the stored revision was committed';
        COMMENT ON COLUMN report_coverage.reason
            IS 'why the state is what it is, in words; empty when there is nothing to say';
        COMMENT ON COLUMN report_coverage.last_check
            IS 'trouble or absence that the last check met and that changes no state; empty when it went well';
        COMMENT ON COLUMN report_coverage.provisional
            IS 'whether the date is so young that the daily job, with the settings'' defaults, still asks for '
               'restatements: until seven days after it, today in UTC; says nothing of the state';
    """)


def _comment_tables() -> None:
    op.execute("""
        COMMENT ON COLUMN warehouse.claimed_at IS 'when the first accepted answer was recorded';

        COMMENT ON COLUMN report_slice.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_slice.report_type IS 'LIVE or VOD';

        COMMENT ON COLUMN report_revision.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_revision.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_revision.rows_inserted IS 'rows of watch_time that came with this revision';
        COMMENT ON COLUMN report_revision.rows_updated IS 'rows whose seconds this revision changed';
        COMMENT ON COLUMN report_revision.rows_deleted IS 'rows that this revision no longer has';
        COMMENT ON COLUMN report_revision.rows_unchanged IS 'rows that were there before, with the same seconds';
        COMMENT ON COLUMN report_revision.loaded_at IS 'when it was committed';

        COMMENT ON COLUMN report_reject.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_reject.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_reject.reason IS 'why the line was not loaded';

        COMMENT ON TABLE watch_time_version IS 'One row: the version of these tables.';
        COMMENT ON COLUMN watch_time_version.version_num IS 'number of the newest migration that was run';
    """)
