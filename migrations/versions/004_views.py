"""Views for readers: the report's own shape, days, months, contents, customers, and which slices are complete."""

from __future__ import annotations

from alembic import op

revision = "004"
down_revision = "003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the views, and say what every column holds."""
    _create_daily_views()
    _create_monthly_views()
    _create_coverage()
    _comment_daily_views()
    _comment_monthly_views()
    _comment_coverage()


def _create_daily_views() -> None:
    """Sums come from the rollup. A count of customers is shown while the facts are those that it was counted of."""
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

        CREATE VIEW watch_time_daily AS
        SELECT sums.report_date,
               sums.report_type,
               sums.streaming_type,
               sums.rows,
               customer_count.customers,
               sums.watch_seconds
        FROM (
            SELECT report_date,
                   report_type,
                   streaming_type,
                   sum(customers + has_anonymous::int)::bigint AS rows,
                   sum(watch_seconds) AS watch_seconds
            FROM content_daily
            GROUP BY report_date, report_type, streaming_type
        ) AS sums
        LEFT JOIN report_slice USING (report_date, report_type)
        LEFT JOIN customer_count
            ON customer_count.period = 'day'
           AND customer_count.start_date = sums.report_date
           AND customer_count.report_type = sums.report_type
           AND customer_count.streaming_type = sums.streaming_type
           AND customer_count.content_id = ''
           AND customer_count.facts_version = report_slice.facts_version;

        CREATE VIEW watch_time_customers AS
        SELECT days.report_date,
               customer_count.customers
        FROM (
            SELECT report_date,
                   sum(facts_version) AS facts_version
            FROM report_slice
            WHERE revision > 0
            GROUP BY report_date
        ) AS days
        LEFT JOIN customer_count
            ON customer_count.period = 'day'
           AND customer_count.start_date = days.report_date
           AND customer_count.report_type = ''
           AND customer_count.streaming_type = ''
           AND customer_count.content_id = ''
           AND customer_count.facts_version = days.facts_version;
    """)


def _create_monthly_views() -> None:
    """Every month is looked up by its bounds: asked for one, Postgres reads that month and no other.

    Grouping by a month that is computed from each row would read all of them.
    """
    op.execute("""
        CREATE VIEW watch_time_monthly AS
        SELECT months.month,
               sums.report_type,
               sums.streaming_type,
               sums.rows,
               customer_count.customers,
               sums.watch_seconds
        FROM (
            SELECT date_trunc('month', report_date::timestamp)::date AS month,
                   sum(facts_version) AS facts_version
            FROM report_slice
            WHERE revision > 0
            GROUP BY date_trunc('month', report_date::timestamp)::date
        ) AS months
        CROSS JOIN LATERAL (
            SELECT report_type,
                   streaming_type,
                   sum(customers + has_anonymous::int)::bigint AS rows,
                   sum(watch_seconds) AS watch_seconds
            FROM content_daily
            WHERE report_date >= months.month
              AND report_date < (months.month + interval '1 month')::date
            GROUP BY report_type, streaming_type
        ) AS sums
        LEFT JOIN customer_count
            ON customer_count.period = 'month'
           AND customer_count.start_date = months.month
           AND customer_count.report_type = sums.report_type
           AND customer_count.streaming_type = sums.streaming_type
           AND customer_count.content_id = ''
           AND customer_count.facts_version = months.facts_version;

        CREATE VIEW watch_time_by_content AS
        SELECT months.month,
               sums.content_id,
               content.title,
               sums.first_date,
               sums.last_date,
               sums.rows,
               customer_count.customers,
               sums.watch_seconds
        FROM (
            SELECT date_trunc('month', report_date::timestamp)::date AS month,
                   sum(facts_version) AS facts_version
            FROM report_slice
            WHERE revision > 0
            GROUP BY date_trunc('month', report_date::timestamp)::date
        ) AS months
        CROSS JOIN LATERAL (
            SELECT content_id,
                   min(report_date) AS first_date,
                   max(report_date) AS last_date,
                   sum(customers + has_anonymous::int)::bigint AS rows,
                   sum(watch_seconds) AS watch_seconds
            FROM content_daily
            WHERE report_date >= months.month
              AND report_date < (months.month + interval '1 month')::date
            GROUP BY content_id
        ) AS sums
        LEFT JOIN content USING (content_id)
        LEFT JOIN customer_count
            ON customer_count.period = 'month'
           AND customer_count.start_date = months.month
           AND customer_count.report_type = ''
           AND customer_count.streaming_type = ''
           AND customer_count.content_id = sums.content_id
           AND customer_count.facts_version = months.facts_version;

        CREATE VIEW watch_time_by_customer AS
        SELECT months.month,
               sums.*
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
        ) AS sums;
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
               days.report_date >= days.newest_due - 5 AS provisional,
               coalesce(report_slice.state = 'empty' AND report_slice.revision = 0, false) AS presumed_empty
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


def _comment_daily_views() -> None:
    op.execute("""
        COMMENT ON VIEW watch_time_report
            IS 'The columns of BlendVision''s CSV, with the newest title of each content item.';
        COMMENT ON COLUMN watch_time_report.report_date IS 'day on which the views began, in the source''s time zone';
        COMMENT ON COLUMN watch_time_report.report_type IS 'report that contains the row: LIVE or VOD';
        COMMENT ON COLUMN watch_time_report.title IS 'title in the report with the newest date';
        COMMENT ON COLUMN watch_time_report.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN watch_time_report.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_report.created_at IS 'when the content item was created; NULL if unreadable';
        COMMENT ON COLUMN watch_time_report.customer_id
            IS 'the service''s own user id; empty string for anonymous viewers';
        COMMENT ON COLUMN watch_time_report.watch_seconds IS 'seconds watched, paused time excluded; exact';

        COMMENT ON VIEW watch_time_daily
            IS 'Rows, identified customers and seconds per day, report and streaming type.';
        COMMENT ON COLUMN watch_time_daily.report_date IS 'day on which the views began, in the source''s time zone';
        COMMENT ON COLUMN watch_time_daily.report_type IS 'report that contains the rows: LIVE or VOD';
        COMMENT ON COLUMN watch_time_daily.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_daily.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_daily.customers
            IS 'distinct identified customers; NULL until counted; cannot be summed over days or types';
        COMMENT ON COLUMN watch_time_daily.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_customers
            IS 'Distinct identified customers of each day, across both reports and all streaming types.';
        COMMENT ON COLUMN watch_time_customers.report_date
            IS 'day on which the views began, in the source''s time zone';
        COMMENT ON COLUMN watch_time_customers.customers
            IS 'distinct identified customers; NULL until counted; cannot be summed over days';
    """)


def _comment_monthly_views() -> None:
    op.execute("""
        COMMENT ON VIEW watch_time_monthly
            IS 'Rows, identified customers and seconds per month, report and streaming type.';
        COMMENT ON COLUMN watch_time_monthly.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_monthly.report_type IS 'report that contains the rows: LIVE or VOD';
        COMMENT ON COLUMN watch_time_monthly.streaming_type IS 'what was played: VOD, LIVE or LIVE_TO_VOD';
        COMMENT ON COLUMN watch_time_monthly.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_monthly.customers
            IS 'distinct identified customers; NULL until counted; cannot be summed over months or types';
        COMMENT ON COLUMN watch_time_monthly.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_by_content
            IS 'Watch time of each content item per month, across both reports and all streaming types.';
        COMMENT ON COLUMN watch_time_by_content.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_by_content.content_id IS 'BlendVision''s content id, character for character';
        COMMENT ON COLUMN watch_time_by_content.title IS 'title in the report with the newest date';
        COMMENT ON COLUMN watch_time_by_content.first_date
            IS 'oldest report date of the month that contains the item; over all time: content.first_seen';
        COMMENT ON COLUMN watch_time_by_content.last_date
            IS 'newest report date of the month that contains the item; over all time: content.last_seen';
        COMMENT ON COLUMN watch_time_by_content.rows IS 'rows of watch_time';
        COMMENT ON COLUMN watch_time_by_content.customers
            IS 'distinct identified customers; NULL until counted; cannot be summed over months or content items';
        COMMENT ON COLUMN watch_time_by_content.watch_seconds IS 'seconds watched, anonymous viewers included';

        COMMENT ON VIEW watch_time_by_customer
            IS 'Watch time of each identified customer per month, without anonymous viewers.';
        COMMENT ON COLUMN watch_time_by_customer.month IS 'first day of the month of the report dates';
        COMMENT ON COLUMN watch_time_by_customer.customer_id IS 'the service''s own user id; never empty';
        COMMENT ON COLUMN watch_time_by_customer.days IS 'number of report dates on which the customer watched';
        COMMENT ON COLUMN watch_time_by_customer.contents IS 'number of distinct content items watched';
        COMMENT ON COLUMN watch_time_by_customer.watch_seconds IS 'seconds watched';
    """)


def _comment_coverage() -> None:
    op.execute("""
        COMMENT ON VIEW report_coverage
            IS 'One row per slice, including those never tried, from the oldest known to the newest due (two days '
               'before today in UTC, or later if newer ones are known).';
        COMMENT ON COLUMN report_coverage.report_date IS 'report date, in the source''s time zone';
        COMMENT ON COLUMN report_coverage.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_coverage.state
            IS 'loaded, unavailable, empty, held, failed or never tried; loaded and empty count as complete';
        COMMENT ON COLUMN report_coverage.revision IS 'stored revision; 0: none was ever accepted';
        COMMENT ON COLUMN report_coverage.rows IS 'rows of the slice in watch_time';
        COMMENT ON COLUMN report_coverage.watch_seconds IS 'total seconds of those rows';
        COMMENT ON COLUMN report_coverage.loaded_at IS 'when the stored revision was committed';
        COMMENT ON COLUMN report_coverage.reason IS 'reason for the state; NULL if there is nothing to report';
        COMMENT ON COLUMN report_coverage.last_check
            IS 'error or missing report found by the last check that did not change the state; NULL if there was none';
        COMMENT ON COLUMN report_coverage.provisional
            IS 'whether runs with default settings still re-check the date for restatements: until seven days after '
               'it, in UTC; independent of the state';
        COMMENT ON COLUMN report_coverage.presumed_empty
            IS 'whether the state is empty only because the source returns 404: no report has confirmed it, and one '
               'may still be published';
    """)
