"""Which report is held, so that no other is accepted; which slices are presumed empty; versions of facts."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `held_sha256` and `facts_version` to `report_slice`, `presumed_empty` to `report_coverage`, and comments."""
    op.execute("""
        ALTER TABLE report_slice
            ADD COLUMN held_sha256 text,
            ADD COLUMN facts_version bigint NOT NULL DEFAULT 0,
            ADD CONSTRAINT report_slice_only_held_has_hash CHECK (held_sha256 IS NULL OR state = 'held');

        COMMENT ON COLUMN report_slice.held_sha256
            IS 'hash of the report that is held: --accept takes this one only; empty unless the state is held';
        COMMENT ON COLUMN report_slice.facts_version
            IS 'raised by every transaction that changes the slice''s rows in watch_time';
        COMMENT ON COLUMN report_slice.read_as
            IS 'header text and column of each column of the stored revision, as JSON; read otherwise, it is loaded '
               'again';
        COMMENT ON COLUMN report_slice.report_source
            IS 'host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of what the '
               'URL asks for beside its signature; empty where the host gave no strong ETag';
    """)
    _show_presumed()


def _show_presumed() -> None:
    """Empty by a file, or by a 404 alone: who closes a month wants to know."""
    op.execute("""
        CREATE OR REPLACE VIEW report_coverage AS
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

        COMMENT ON COLUMN report_coverage.presumed_empty
            IS 'whether the state is empty only because the source answers 404: no file said so, and a report may '
               'still come';
    """)
