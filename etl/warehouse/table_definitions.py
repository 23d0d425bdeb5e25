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
    _column("customer_id", _key_text(), "the service's own user id; empty text for anonymous viewers"),
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("streaming_type", _key_text(), "what was played: VOD, LIVE or LIVE_TO_VOD"),
    *_slice("the day on which the views began, in the source's zone", "the report that holds the row: LIVE or VOD"),
    _column("watch_seconds", Numeric, "seconds watched, paused time excluded; exact"),
    PrimaryKeyConstraint("customer_id", "content_id", "streaming_type", "report_date", "report_type"),
    CheckConstraint("watch_seconds >= 0", name="watch_seconds_not_negative"),
    comment="Seconds watched per content, customer, streaming type, day and report: one row each.",
    postgresql_partition_by="RANGE (report_date, report_type)",
)

content: Final = Table(
    "content",
    metadata,
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("title", Text, "the title in the report of the newest date seen"),
    Column("created_at", DateTime(timezone=True), comment="when the content was created; empty where unreadable"),
    _column("first_seen", Date, "oldest report date that names the content"),
    _column("last_seen", Date, "newest report date that names the content"),
    _column("last_seen_type", _key_text(), "the report of that date that gave the title; VOD before LIVE"),
    PrimaryKeyConstraint("content_id"),
    comment="What was watched: one row per content.",
)

# By the key of the facts, a content's named rows of a slice and streaming type are exactly its named customers.
content_daily: Final = Table(
    "content_daily",
    metadata,
    *_slice("the day on which the views began, in the source's zone", "the report that holds the rows: LIVE or VOD"),
    _column("content_id", _key_text(), "BlendVision's content id, character for character"),
    _column("streaming_type", _key_text(), "what was played: VOD, LIVE or LIVE_TO_VOD"),
    _column("customers", BigInteger, "named customers, which are also its named rows"),
    _column("watch_seconds", Numeric, "seconds watched, anonymous viewers included; exact"),
    _column("anonymous_seconds", Numeric, "seconds watched by anonymous viewers; exact"),
    _column("has_anonymous", Boolean, "whether watch_time has a row of anonymous viewers"),
    PrimaryKeyConstraint("report_date", "report_type", "content_id", "streaming_type"),
    Index("content_daily_content_id", "content_id"),
    comment="What each content was watched per day, report and streaming type: the facts, summed in the transaction "
    "that changes them.",
)

customer_count: Final = Table(
    "customer_count",
    metadata,
    _column("period", Text, "day or month"),
    _column("start_date", Date, "the day, or the first day of the month"),
    _column("report_type", _key_text(), "LIVE or VOD; empty text: both together"),
    _column("streaming_type", _key_text(), "VOD, LIVE or LIVE_TO_VOD; empty text: all together"),
    _column("content_id", _key_text(), "one content; empty text: all together"),
    _column("customers", BigInteger, "different named customers; exact"),
    _column("facts_version", Numeric, "the sum of facts_version of the period's slices when they were counted"),
    PrimaryKeyConstraint("period", "start_date", "report_type", "streaming_type", "content_id"),
    CheckConstraint("period IN ('day', 'month')", name="period_is_known"),
    comment="Different customers, which cannot be added up: counted after loads. Valid while facts_version is the sum "
    "of that of the period's slices.",
)

warehouse: Final = Table(
    "warehouse",
    metadata,
    _column("org_id", Text, "the organization whose data this schema holds"),
    _set_now("claimed_at", "when the first accepted answer was recorded"),
    PrimaryKeyConstraint("org_id"),
    Index("warehouse_is_one", text("(true)"), unique=True),
    comment="One row: the organization that this schema belongs to, set by its first accepted answer.",
)

report_slice: Final = Table(
    "report_slice",
    metadata,
    *_slice("the day that is reported, in the source's zone"),
    _column("state", Text, "loaded, unavailable, empty, held or failed"),
    _column("revision", Integer, "the revision that is stored; 0: none was ever accepted"),
    Column("report_sha256", Text, comment="hash of the stored revision's CSV"),
    Column(
        "read_as",
        Text,
        comment="header text and column of each column of the stored revision, as JSON; read otherwise, it is loaded "
        "again",
    ),
    _column("rows_stored", BigInteger, "rows of the slice in watch_time"),
    _column("watch_seconds", Numeric, "their sum"),
    _column("checked_at", DateTime(timezone=True), "when the source was last asked"),
    Column("loaded_at", DateTime(timezone=True), comment="when the stored revision was committed"),
    Column("reason", Text, comment="why the state is what it is, in words; empty when there is nothing to say"),
    Column("error_code", Text, comment="the kind of the error behind held and failed"),
    Column(
        "last_check",
        Text,
        comment="trouble or absence that the last check met and that changes no state; empty when it went well",
    ),
    Column(
        "report_source",
        Text,
        comment="host and path that the stored revision was downloaded from, then ?sha256= and the SHA-256 of what the "
        "URL asks for beside its signature; empty where the host gave no strong ETag",
    ),
    Column(
        "report_etag",
        Text,
        comment="its strong ETag there: while the host says that the file still has it, nothing is downloaded",
    ),
    Column(
        "held_sha256",
        Text,
        comment="hash of the report that is held: --accept takes this one only; empty unless the state is held",
    ),
    Column(
        "facts_version",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="raised by every transaction that changes the slice's rows in watch_time",
    ),
    PrimaryKeyConstraint("report_date", "report_type"),
    CheckConstraint("state IN ('loaded', 'unavailable', 'empty', 'held', 'failed')", name="state_is_known"),
    CheckConstraint("(revision = 0) = (report_sha256 IS NULL)", name="revision_has_hash"),
    CheckConstraint("(report_etag IS NULL) = (report_source IS NULL)", name="etag_has_source"),
    CheckConstraint("held_sha256 IS NULL OR state = 'held'", name="only_held_has_hash"),
    comment="What is known of each slice; no row: never tried.",
)

report_revision: Final = Table(
    "report_revision",
    metadata,
    *_slice("the day that is reported, in the source's zone"),
    _column("revision", Integer, "1 for the first accepted report of the slice"),
    _column("report_sha256", Text, "hash of the CSV"),
    _column("report_bytes", BigInteger, "size of the CSV"),
    _column("rows_read", BigInteger, "lines of the report, without header and blank lines"),
    _column("rows_merged", BigInteger, "lines added to another line of the same key"),
    _column("rows_repeated", BigInteger, "merged lines of a named customer that repeat one whole"),
    _column("rows_rejected", BigInteger, "lines not loaded; see report_reject"),
    _column("rows_inserted", BigInteger, "rows of watch_time that came with this revision"),
    _column("rows_updated", BigInteger, "rows whose seconds this revision changed"),
    _column("rows_deleted", BigInteger, "rows that this revision no longer has"),
    _column("rows_unchanged", BigInteger, "rows that were there before, with the same seconds"),
    _column("seconds_before", Numeric, "the slice's sum before this revision"),
    _column("seconds_after", Numeric, "the slice's sum with this revision"),
    _column("created_at_unread", BigInteger, "rows with a creation time in no known format"),
    _column("unknown_types", BigInteger, "rows with an undocumented streaming type (loaded)"),
    Column("overruled", Text, comment="what a guard said against the report that a person accepted all the same"),
    _column("code_version", Text, "the version of watch-time that loaded it"),
    _set_now("loaded_at", "when it was committed"),
    Column("load_duration", Interval, comment="from the report's address to its ledger row: download, checks, load"),
    PrimaryKeyConstraint("report_date", "report_type", "revision"),
    CheckConstraint(
        "rows_inserted + rows_updated + rows_unchanged = rows_read - rows_rejected - rows_merged", name="rows_add_up"
    ),
    comment="Append-only: one row per accepted revision of a slice.",
)

report_check: Final = Table(
    "report_check",
    metadata,
    *_slice("the slice's date", "the slice's report: LIVE or VOD"),
    _column("first_at", DateTime(timezone=True), "when it was met first"),
    _column("last_at", DateTime(timezone=True), "when it was met last"),
    _column("times", Integer, "how often in a row"),
    _column("result", Text, "loaded, unchanged, empty, unavailable, withdrawn, held or failed"),
    Column("message", Text, comment="what there is to say about it"),
    PrimaryKeyConstraint("report_date", "report_type", "first_at"),
    comment="What the checks of a slice met, in order; the same answer several times in a row is one line.",
)

report_reject: Final = Table(
    "report_reject",
    metadata,
    *_slice("the day that is reported, in the source's zone"),
    _column("report_sha256", Text, "the report that holds the line"),
    _column("line_number", BigInteger, "physical line at which the record begins; header: 1"),
    _column("reason", Text, "why the line was not loaded"),
    _column("raw_text", Text, "the record as it stands in the file"),
    PrimaryKeyConstraint("report_date", "report_type", "report_sha256", "line_number"),
    comment="Lines that were not loaded: of each accepted revision, and of the last refused report of a slice.",
)

report_notice: Final = Table(
    "report_notice",
    metadata,
    *_slice("the slice's date", "the slice's report: LIVE or VOD"),
    _column("condition", Text, "held, failed, withdrawn or late"),
    _set_now("told_at", "when they were told"),
    PrimaryKeyConstraint("report_date", "report_type"),
    comment="The condition of a slice that people were last told of; no row: never told anything, or all is well.",
)
