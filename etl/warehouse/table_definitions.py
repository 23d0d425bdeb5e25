"""The warehouse's tables, declared once.

Alembic's migrations create them; a test proves that a migrated database equals this declaration. At run time the
statements in `sql/` are sent through psycopg, so this module is imported only where tables are made or compared.

Every table lives in the schema of the connection's search path: none is named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Interval,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem
    from sqlalchemy.types import TypeEngine

metadata: Final = MetaData(naming_convention={"pk": "%(table_name)s_pkey", "ck": "%(table_name)s_%(constraint_name)s"})


def _key_text() -> Text:
    """Text that is part of a key: compared byte by byte, so that no locale or its update can reorder an index."""
    return Text(collation="C")


def _column(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]], comment: str) -> Column[Any]:
    """A column that always has a value."""
    return Column(name, type_, nullable=False, comment=comment)


def _slice(of_date: str, of_type: str = "LIVE or VOD") -> tuple[SchemaItem, ...]:
    """The columns that say which slice a row belongs to."""
    return (
        _column("report_date", Date, of_date),
        _column("report_type", _key_text(), of_type),
        CheckConstraint("report_type IN ('LIVE', 'VOD')", name="report_type_is_known"),
    )


def _set_now(name: str, comment: str) -> Column[Any]:
    """A moment that the server fills in."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now(), comment=comment)


# The fact, narrow: titles do not repeat on every row. The customer comes first in the key: it tells almost all rows
# apart, so that the key is built quickest, and one customer's rows lie together in it. Contents are asked for in
# `content_daily`.
watch_time: Final = Table(
    "watch_time",
    metadata,
    _column("customer_id", _key_text(), "the service's own user id; empty string for anonymous viewers"),
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("streaming_type", _key_text(), "what was played: VOD, LIVE or LIVE_TO_VOD"),
    *_slice("day on which the views began, in the source's time zone", "report that contains the row: LIVE or VOD"),
    _column("watch_seconds", Numeric, "seconds watched, paused time excluded; exact"),
    PrimaryKeyConstraint("customer_id", "content_id", "streaming_type", "report_date", "report_type"),
    CheckConstraint("watch_seconds >= 0", name="watch_seconds_not_negative"),
    comment="Watch time: one row per report date, report type, content item, customer and streaming type.",
    postgresql_partition_by="RANGE (report_date, report_type)",
)

content: Final = Table(
    "content",
    metadata,
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("title", Text, "title in the report with the newest date"),
    Column("created_at", DateTime(timezone=True), comment="when the content item was created; NULL if unreadable"),
    _column("first_seen", Date, "oldest report date that contains the item"),
    _column("last_seen", Date, "newest report date that contains the item"),
    _column(
        "last_seen_type", _key_text(), "report of that date that the title is from; VOD takes precedence over LIVE"
    ),
    PrimaryKeyConstraint("content_id"),
    comment="What was watched: one row per content item.",
)

# By the key of the facts, a content's named rows of a slice and streaming type are exactly its identified customers.
content_daily: Final = Table(
    "content_daily",
    metadata,
    *_slice("day on which the views began, in the source's time zone", "report that contains the rows: LIVE or VOD"),
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("streaming_type", _key_text(), "what was played: VOD, LIVE or LIVE_TO_VOD"),
    _column(
        "customers", BigInteger, "number of identified customers, which is also the number of their rows in watch_time"
    ),
    _column("watch_seconds", Numeric, "seconds watched, anonymous viewers included; exact"),
    _column("anonymous_seconds", Numeric, "seconds watched by anonymous viewers; exact"),
    _column("has_anonymous", Boolean, "whether watch_time has a row for anonymous viewers"),
    PrimaryKeyConstraint("report_date", "report_type", "content_id", "streaming_type"),
    Index("content_daily_content_id", "content_id"),
    comment="Totals per report date, report type, content item and streaming type, updated in the transaction that "
    "changes the facts.",
)

customer_count: Final = Table(
    "customer_count",
    metadata,
    _column("period", Text, "day or month"),
    _column("start_date", Date, "the day, or the first day of the month"),
    _column("report_type", _key_text(), "LIVE or VOD; empty string: both"),
    _column("streaming_type", _key_text(), "VOD, LIVE or LIVE_TO_VOD; empty string: all"),
    _column("content_id", _key_text(), "one content item; empty string: all"),
    _column("customers", BigInteger, "distinct identified customers; exact"),
    _column("facts_version", Numeric, "sum of facts_version of the period's slices when they were counted"),
    PrimaryKeyConstraint("period", "start_date", "report_type", "streaming_type", "content_id"),
    CheckConstraint("period IN ('day', 'month')", name="period_is_known"),
    comment="Distinct customers, which cannot be summed: counted after loads. Valid while facts_version is the sum of "
    "facts_version of the period's slices.",
)

warehouse: Final = Table(
    "warehouse",
    metadata,
    _column("org_id", Text, "organization whose data this schema holds"),
    _set_now("claimed_at", "when the first accepted response was recorded"),
    PrimaryKeyConstraint("org_id"),
    Index("warehouse_is_one", text("(true)"), unique=True),
    comment="One row: the organization that this schema belongs to, set by its first accepted response.",
)

report_slice: Final = Table(
    "report_slice",
    metadata,
    *_slice("report date, in the source's time zone"),
    _column("state", Text, "loaded, unavailable, empty, held or failed"),
    _column("revision", Integer, "stored revision; 0: none was ever accepted"),
    Column("report_sha256", Text, comment="SHA-256 of the stored revision's CSV"),
    Column(
        "read_as",
        Text,
        comment="how the header of the stored revision was mapped to columns, as JSON; if the mapping changes, the "
        "report is loaded again",
    ),
    _column("rows_stored", BigInteger, "rows of the slice in watch_time"),
    _column("watch_seconds", Numeric, "total seconds of those rows"),
    _column("checked_at", DateTime(timezone=True), "when the source was last checked"),
    Column("loaded_at", DateTime(timezone=True), comment="when the stored revision was committed"),
    Column("reason", Text, comment="reason for the state; NULL if there is nothing to report"),
    Column("error_code", Text, comment="kind of error that caused the state held or failed"),
    Column(
        "last_check",
        Text,
        comment="error or missing report found by the last check that did not change the state; NULL if there was none",
    ),
    Column(
        "report_source",
        Text,
        comment="host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of the "
        "URL's query without its signature; NULL if the host sent no strong ETag",
    ),
    Column(
        "report_etag",
        Text,
        comment="its strong ETag on that host; while the host confirms it, nothing is downloaded",
    ),
    Column(
        "held_sha256",
        Text,
        comment="SHA-256 of the held report, the only one that --accept accepts; NULL unless the state is held",
    ),
    Column(
        "facts_version",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="incremented by every transaction that changes the slice's rows in watch_time",
    ),
    PrimaryKeyConstraint("report_date", "report_type"),
    CheckConstraint("state IN ('loaded', 'unavailable', 'empty', 'held', 'failed')", name="state_is_known"),
    CheckConstraint("(revision = 0) = (report_sha256 IS NULL)", name="revision_has_hash"),
    CheckConstraint("(report_etag IS NULL) = (report_source IS NULL)", name="etag_has_source"),
    CheckConstraint("held_sha256 IS NULL OR state = 'held'", name="only_held_has_hash"),
    comment="State of each slice; no row: never tried.",
)

report_revision: Final = Table(
    "report_revision",
    metadata,
    *_slice("report date, in the source's time zone"),
    _column("revision", Integer, "1 for the first accepted report of the slice"),
    _column("report_sha256", Text, "SHA-256 of the CSV"),
    _column("report_bytes", BigInteger, "size of the CSV"),
    _column("rows_read", BigInteger, "lines of the report, excluding header and blank lines"),
    _column("rows_merged", BigInteger, "lines summed into another line with the same key"),
    _column("rows_repeated", BigInteger, "merged lines of an identified customer that repeat another line exactly"),
    _column("rows_rejected", BigInteger, "lines not loaded; see report_reject"),
    _column("rows_inserted", BigInteger, "rows that this revision added to watch_time"),
    _column("rows_updated", BigInteger, "rows whose seconds this revision changed"),
    _column("rows_deleted", BigInteger, "rows that this revision removed"),
    _column("rows_unchanged", BigInteger, "rows that were already stored with the same seconds"),
    _column("seconds_before", Numeric, "total seconds of the slice before this revision"),
    _column("seconds_after", Numeric, "total seconds of the slice with this revision"),
    _column("created_at_unread", BigInteger, "rows with a creation time in an unknown format"),
    _column("unknown_types", BigInteger, "rows with an undocumented streaming type (loaded)"),
    Column("overruled", Text, comment="why a guard refused the report, if a person accepted it"),
    _column("code_version", Text, "version of watch-time that loaded it"),
    _set_now("loaded_at", "when it was committed"),
    Column(
        "load_duration",
        Interval,
        comment="time from receiving the report's URL to writing its ledger row: download, checks, load",
    ),
    PrimaryKeyConstraint("report_date", "report_type", "revision"),
    CheckConstraint(
        "rows_inserted + rows_updated + rows_unchanged = rows_read - rows_rejected - rows_merged", name="rows_add_up"
    ),
    comment="Append-only: one row per accepted revision of a slice.",
)

report_check: Final = Table(
    "report_check",
    metadata,
    *_slice("report date of the slice", "report type of the slice: LIVE or VOD"),
    _column("first_at", DateTime(timezone=True), "time of the first of these checks"),
    _column("last_at", DateTime(timezone=True), "time of the last of these checks"),
    _column("times", Integer, "number of these checks"),
    _column("result", Text, "loaded, unchanged, empty, unavailable, withdrawn, held or failed"),
    Column("message", Text, comment="details of the result"),
    PrimaryKeyConstraint("report_date", "report_type", "first_at"),
    comment="Results of the checks of each slice, in order; consecutive identical results are one row.",
)

report_reject: Final = Table(
    "report_reject",
    metadata,
    *_slice("report date, in the source's time zone"),
    _column("report_sha256", Text, "SHA-256 of the report that contains the line"),
    _column("line_number", BigInteger, "physical line on which the record begins; the header is line 1"),
    _column("reason", Text, "why the line was not loaded"),
    _column("raw_text", Text, "the record as it appears in the file"),
    PrimaryKeyConstraint("report_date", "report_type", "report_sha256", "line_number"),
    comment="Rejected lines of each accepted revision, and of the last refused report of each slice.",
)

report_notice: Final = Table(
    "report_notice",
    metadata,
    *_slice("report date of the slice", "report type of the slice: LIVE or VOD"),
    _column("condition", Text, "held, failed, withdrawn or late"),
    _set_now("told_at", "when the notification was sent"),
    PrimaryKeyConstraint("report_date", "report_type"),
    comment="The condition of each slice in the last notification about it; no row: no notification was sent, or the "
    "slice has recovered.",
)
