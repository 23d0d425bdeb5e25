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
            IS 'One row: the organization that this schema belongs to, set by its first accepted answer.';
        COMMENT ON COLUMN warehouse.org_id IS 'the organization whose data this schema holds';
        COMMENT ON COLUMN warehouse.claimed_at IS 'when the first accepted answer was recorded';

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

        COMMENT ON TABLE report_slice IS 'What is known of each slice; no row: never tried.';
        COMMENT ON COLUMN report_slice.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_slice.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_slice.state IS 'loaded, unavailable, empty, held or failed';
        COMMENT ON COLUMN report_slice.revision IS 'the revision that is stored; 0: none was ever accepted';
        COMMENT ON COLUMN report_slice.report_sha256 IS 'hash of the stored revision''s CSV';
        COMMENT ON COLUMN report_slice.read_as
            IS 'header text and column of each column of the stored revision, as JSON; read otherwise, it is '
               'loaded again';
        COMMENT ON COLUMN report_slice.rows_stored IS 'rows of the slice in watch_time';
        COMMENT ON COLUMN report_slice.watch_seconds IS 'their sum';
        COMMENT ON COLUMN report_slice.checked_at IS 'when the source was last asked';
        COMMENT ON COLUMN report_slice.loaded_at IS 'when the stored revision was committed';
        COMMENT ON COLUMN report_slice.reason
            IS 'why the state is what it is, in words; empty when there is nothing to say';
        COMMENT ON COLUMN report_slice.error_code IS 'the kind of the error behind held and failed';
        COMMENT ON COLUMN report_slice.last_check
            IS 'trouble or absence that the last check met and that changes no state; empty when it went well';
        COMMENT ON COLUMN report_slice.report_source
            IS 'host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of '
               'what the URL asks for beside its signature; empty where the host gave no strong ETag';
        COMMENT ON COLUMN report_slice.report_etag
            IS 'its strong ETag there: while the host says that the file still has it, nothing is downloaded';
        COMMENT ON COLUMN report_slice.held_sha256
            IS 'hash of the report that is held: --accept takes this one only; empty unless the state is held';
        COMMENT ON COLUMN report_slice.facts_version
            IS 'raised by every transaction that changes the slice''s rows in watch_time';

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
        COMMENT ON COLUMN report_revision.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_revision.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_revision.revision IS '1 for the first accepted report of the slice';
        COMMENT ON COLUMN report_revision.report_sha256 IS 'hash of the CSV';
        COMMENT ON COLUMN report_revision.report_bytes IS 'size of the CSV';
        COMMENT ON COLUMN report_revision.rows_read IS 'lines of the report, without header and blank lines';
        COMMENT ON COLUMN report_revision.rows_merged IS 'lines added to another line of the same key';
        COMMENT ON COLUMN report_revision.rows_repeated IS 'merged lines of a named customer that repeat one whole';
        COMMENT ON COLUMN report_revision.rows_rejected IS 'lines not loaded; see report_reject';
        COMMENT ON COLUMN report_revision.rows_inserted IS 'rows of watch_time that came with this revision';
        COMMENT ON COLUMN report_revision.rows_updated IS 'rows whose seconds this revision changed';
        COMMENT ON COLUMN report_revision.rows_deleted IS 'rows that this revision no longer has';
        COMMENT ON COLUMN report_revision.rows_unchanged IS 'rows that were there before, with the same seconds';
        COMMENT ON COLUMN report_revision.seconds_before IS 'the slice''s sum before this revision';
        COMMENT ON COLUMN report_revision.seconds_after IS 'the slice''s sum with this revision';
        COMMENT ON COLUMN report_revision.created_at_unread IS 'rows with a creation time in no known format';
        COMMENT ON COLUMN report_revision.unknown_types IS 'rows with an undocumented streaming type (loaded)';
        COMMENT ON COLUMN report_revision.overruled
            IS 'what a guard said against the report that a person accepted all the same';
        COMMENT ON COLUMN report_revision.code_version IS 'the version of watch-time that loaded it';
        COMMENT ON COLUMN report_revision.loaded_at IS 'when it was committed';
        COMMENT ON COLUMN report_revision.load_duration
            IS 'from the report''s address to its ledger row: download, checks, load';

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
            IS 'What the checks of a slice met, in order; the same answer several times in a row is one line.';
        COMMENT ON COLUMN report_check.report_date IS 'the slice''s date';
        COMMENT ON COLUMN report_check.report_type IS 'the slice''s report: LIVE or VOD';
        COMMENT ON COLUMN report_check.first_at IS 'when it was met first';
        COMMENT ON COLUMN report_check.last_at IS 'when it was met last';
        COMMENT ON COLUMN report_check.times IS 'how often in a row';
        COMMENT ON COLUMN report_check.result IS 'loaded, unchanged, empty, unavailable, withdrawn, held or failed';
        COMMENT ON COLUMN report_check.message IS 'what there is to say about it';

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
            IS 'Lines that were not loaded: of each accepted revision, and of the last refused report of a slice.';
        COMMENT ON COLUMN report_reject.report_date IS 'the day that is reported, in the source''s zone';
        COMMENT ON COLUMN report_reject.report_type IS 'LIVE or VOD';
        COMMENT ON COLUMN report_reject.report_sha256 IS 'the report that holds the line';
        COMMENT ON COLUMN report_reject.line_number IS 'physical line at which the record begins; header: 1';
        COMMENT ON COLUMN report_reject.reason IS 'why the line was not loaded';
        COMMENT ON COLUMN report_reject.raw_text IS 'the record as it stands in the file';

        COMMENT ON TABLE watch_time_version IS 'One row: the version of these tables.';
        COMMENT ON COLUMN watch_time_version.version_num IS 'number of the newest migration that was run';
    """)
