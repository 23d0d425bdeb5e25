"""The ledger: what is known of each slice, its revisions, checks and rejected lines, and whose data this is."""

from __future__ import annotations

from alembic import op

revision = "002"
down_revision = "001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables that are committed together with the facts."""
    op.execute("""
        CREATE TABLE warehouse (
            org_id     text NOT NULL,
            claimed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT warehouse_pkey PRIMARY KEY (org_id)
        );
        CREATE UNIQUE INDEX warehouse_is_one ON warehouse ((true));

        COMMENT ON TABLE warehouse
            IS 'One row: the organization that this schema belongs to, set by its first accepted response.';
        COMMENT ON COLUMN warehouse.org_id IS 'organization whose data this schema holds';
        COMMENT ON COLUMN warehouse.claimed_at IS 'when the first accepted response was recorded';

        CREATE TABLE report_slice (
            report_date   date NOT NULL,
            report_type   text COLLATE "C" NOT NULL,
            state         text NOT NULL,
            revision      integer NOT NULL,
            report_sha256 text,
            read_as       text,
            rows_stored   bigint NOT NULL,
            watch_seconds numeric NOT NULL,
            checked_at    timestamptz NOT NULL,
            loaded_at     timestamptz,
            reason        text,
            error_code    text,
            last_check    text,
            report_source text,
            report_etag   text,
            held_sha256   text,
            facts_version bigint NOT NULL DEFAULT 0,
            CONSTRAINT report_slice_pkey PRIMARY KEY (report_date, report_type),
            CONSTRAINT report_slice_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD')),
            CONSTRAINT report_slice_state_is_known
                CHECK (state IN ('loaded', 'unavailable', 'empty', 'held', 'failed')),
            CONSTRAINT report_slice_revision_has_hash CHECK ((revision = 0) = (report_sha256 IS NULL)),
            CONSTRAINT report_slice_etag_has_source CHECK ((report_etag IS NULL) = (report_source IS NULL)),
            CONSTRAINT report_slice_only_held_has_hash CHECK (held_sha256 IS NULL OR state = 'held')
        );

        COMMENT ON TABLE report_slice IS 'State of each slice; no row: never tried.';
        COMMENT ON COLUMN report_slice.report_date IS 'report date, in the source''s time zone';
        COMMENT ON COLUMN report_slice.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_slice.state IS 'loaded, unavailable, empty, held or failed';
        COMMENT ON COLUMN report_slice.revision IS 'stored revision; 0: none was ever accepted';
        COMMENT ON COLUMN report_slice.report_sha256 IS 'SHA-256 of the stored revision''s CSV';
        COMMENT ON COLUMN report_slice.read_as
            IS 'how the header of the stored revision was mapped to columns, as JSON; if the mapping changes, the '
               'report is loaded again';
        COMMENT ON COLUMN report_slice.rows_stored IS 'rows of the slice in watch_time';
        COMMENT ON COLUMN report_slice.watch_seconds IS 'total seconds of those rows';
        COMMENT ON COLUMN report_slice.checked_at IS 'when the source was last checked';
        COMMENT ON COLUMN report_slice.loaded_at IS 'when the stored revision was committed';
        COMMENT ON COLUMN report_slice.reason IS 'reason for the state; NULL if there is nothing to report';
        COMMENT ON COLUMN report_slice.error_code IS 'kind of error that caused the state held or failed';
        COMMENT ON COLUMN report_slice.last_check
            IS 'error or missing report found by the last check that did not change the state; NULL if there was none';
        COMMENT ON COLUMN report_slice.report_source
            IS 'host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of the '
               'URL''s query without its signature; NULL if the host sent no strong ETag';
        COMMENT ON COLUMN report_slice.report_etag
            IS 'its strong ETag on that host; while the host confirms it, nothing is downloaded';
        COMMENT ON COLUMN report_slice.held_sha256
            IS 'SHA-256 of the held report, the only one that --accept accepts; NULL unless the state is held';
        COMMENT ON COLUMN report_slice.facts_version
            IS 'incremented by every transaction that changes the slice''s rows in watch_time';

        CREATE TABLE report_revision (
            report_date       date NOT NULL,
            report_type       text COLLATE "C" NOT NULL,
            revision          integer NOT NULL,
            report_sha256     text NOT NULL,
            report_bytes      bigint NOT NULL,
            rows_read         bigint NOT NULL,
            rows_merged       bigint NOT NULL,
            rows_repeated     bigint NOT NULL,
            rows_rejected     bigint NOT NULL,
            rows_inserted     bigint NOT NULL,
            rows_updated      bigint NOT NULL,
            rows_deleted      bigint NOT NULL,
            rows_unchanged    bigint NOT NULL,
            seconds_before    numeric NOT NULL,
            seconds_after     numeric NOT NULL,
            created_at_unread bigint NOT NULL,
            unknown_types     bigint NOT NULL,
            overruled         text,
            code_version      text NOT NULL,
            loaded_at         timestamptz NOT NULL DEFAULT now(),
            load_duration     interval,
            CONSTRAINT report_revision_pkey PRIMARY KEY (report_date, report_type, revision),
            CONSTRAINT report_revision_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD')),
            CONSTRAINT report_revision_rows_add_up
                CHECK (rows_inserted + rows_updated + rows_unchanged = rows_read - rows_rejected - rows_merged)
        );

        COMMENT ON TABLE report_revision IS 'Append-only: one row per accepted revision of a slice.';
        COMMENT ON COLUMN report_revision.report_date IS 'report date, in the source''s time zone';
        COMMENT ON COLUMN report_revision.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_revision.revision IS '1 for the first accepted report of the slice';
        COMMENT ON COLUMN report_revision.report_sha256 IS 'SHA-256 of the CSV';
        COMMENT ON COLUMN report_revision.report_bytes IS 'size of the CSV';
        COMMENT ON COLUMN report_revision.rows_read IS 'lines of the report, excluding header and blank lines';
        COMMENT ON COLUMN report_revision.rows_merged IS 'lines summed into another line with the same key';
        COMMENT ON COLUMN report_revision.rows_repeated
            IS 'merged lines of an identified customer that repeat another line exactly';
        COMMENT ON COLUMN report_revision.rows_rejected IS 'lines not loaded; see report_reject';
        COMMENT ON COLUMN report_revision.rows_inserted IS 'rows that this revision added to watch_time';
        COMMENT ON COLUMN report_revision.rows_updated IS 'rows whose seconds this revision changed';
        COMMENT ON COLUMN report_revision.rows_deleted IS 'rows that this revision removed';
        COMMENT ON COLUMN report_revision.rows_unchanged IS 'rows that were already stored with the same seconds';
        COMMENT ON COLUMN report_revision.seconds_before IS 'total seconds of the slice before this revision';
        COMMENT ON COLUMN report_revision.seconds_after IS 'total seconds of the slice with this revision';
        COMMENT ON COLUMN report_revision.created_at_unread IS 'rows with a creation time in an unknown format';
        COMMENT ON COLUMN report_revision.unknown_types IS 'rows with an undocumented streaming type (loaded)';
        COMMENT ON COLUMN report_revision.overruled IS 'why a guard refused the report, if a person accepted it';
        COMMENT ON COLUMN report_revision.code_version IS 'version of watch-time that loaded it';
        COMMENT ON COLUMN report_revision.loaded_at IS 'when it was committed';
        COMMENT ON COLUMN report_revision.load_duration
            IS 'time from receiving the report''s URL to writing its ledger row: download, checks, load';

        CREATE TABLE report_check (
            report_date date NOT NULL,
            report_type text COLLATE "C" NOT NULL,
            first_at    timestamptz NOT NULL,
            last_at     timestamptz NOT NULL,
            times       integer NOT NULL,
            result      text NOT NULL,
            message     text,
            CONSTRAINT report_check_pkey PRIMARY KEY (report_date, report_type, first_at),
            CONSTRAINT report_check_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD'))
        );

        COMMENT ON TABLE report_check
            IS 'Results of the checks of each slice, in order; consecutive identical results are one row.';
        COMMENT ON COLUMN report_check.report_date IS 'report date of the slice';
        COMMENT ON COLUMN report_check.report_type IS 'report type of the slice: LIVE or VOD';
        COMMENT ON COLUMN report_check.first_at IS 'time of the first of these checks';
        COMMENT ON COLUMN report_check.last_at IS 'time of the last of these checks';
        COMMENT ON COLUMN report_check.times IS 'number of these checks';
        COMMENT ON COLUMN report_check.result IS 'loaded, unchanged, empty, unavailable, withdrawn, held or failed';
        COMMENT ON COLUMN report_check.message IS 'details of the result';

        CREATE TABLE report_reject (
            report_date   date NOT NULL,
            report_type   text COLLATE "C" NOT NULL,
            report_sha256 text NOT NULL,
            line_number   bigint NOT NULL,
            reason        text NOT NULL,
            raw_text      text NOT NULL,
            CONSTRAINT report_reject_pkey PRIMARY KEY (report_date, report_type, report_sha256, line_number),
            CONSTRAINT report_reject_report_type_is_known CHECK (report_type IN ('LIVE', 'VOD'))
        );

        COMMENT ON TABLE report_reject
            IS 'Rejected lines of each accepted revision, and of the last refused report of each slice.';
        COMMENT ON COLUMN report_reject.report_date IS 'report date, in the source''s time zone';
        COMMENT ON COLUMN report_reject.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_reject.report_sha256 IS 'SHA-256 of the report that contains the line';
        COMMENT ON COLUMN report_reject.line_number IS 'physical line on which the record begins; the header is line 1';
        COMMENT ON COLUMN report_reject.reason IS 'why the line was not loaded';
        COMMENT ON COLUMN report_reject.raw_text IS 'the record as it appears in the file';

        COMMENT ON TABLE watch_time_version IS 'One row: the version of this schema.';
        COMMENT ON COLUMN watch_time_version.version_num IS 'number of the last migration that was run';
    """)
