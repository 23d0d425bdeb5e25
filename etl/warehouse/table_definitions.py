"""The warehouse's tables, declared once.

Alembic's migrations create them; a test proves that a migrated database equals this declaration. At run time the
statements in `sql/` are sent through psycopg, so this module is imported only where tables are made or compared.

Every table lives in the schema of the connection's search path: none is named here.
"""

from __future__ import annotations

from typing import Final

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

metadata: Final = MetaData(naming_convention={"pk": "%(table_name)s_pkey", "ck": "%(table_name)s_%(constraint_name)s"})


def _key_text() -> Text:
    """Text that is part of a key: compared byte by byte, so that no locale or its update can reorder an index."""
    return Text(collation="C")


def _report_type_is_known() -> CheckConstraint:
    return CheckConstraint("report_type IN ('LIVE', 'VOD')", name="report_type_is_known")


# The fact, narrow: titles do not repeat on every row. The customer comes first in the key: it tells almost all rows
# apart, so that the key is built quickest, and one customer's rows lie together in it. Contents are asked for in
# `content_daily`.
watch_time: Final = Table(
    "watch_time",
    metadata,
    Column(
        "customer_id",
        _key_text(),
        nullable=False,
        comment="the service's own user id; empty text for anonymous viewers",
    ),
    Column("content_id", _key_text(), nullable=False, comment="BlendVision's content id, character for character"),
    Column("streaming_type", _key_text(), nullable=False, comment="what was played: VOD, LIVE or LIVE_TO_VOD"),
    Column("report_date", Date, nullable=False, comment="the day on which the views began, in the source's zone"),
    Column("report_type", _key_text(), nullable=False, comment="the report that holds the row: LIVE or VOD"),
    Column("watch_seconds", Numeric, nullable=False, comment="seconds watched, paused time excluded; exact"),
    PrimaryKeyConstraint("customer_id", "content_id", "streaming_type", "report_date", "report_type"),
    _report_type_is_known(),
    CheckConstraint("watch_seconds >= 0", name="watch_seconds_not_negative"),
    comment="Seconds watched per content, customer, streaming type, day and report: one row each.",
    postgresql_partition_by="RANGE (report_date, report_type)",
)

content: Final = Table(
    "content",
    metadata,
    Column("content_id", _key_text(), nullable=False, comment="BlendVision's content id, character for character"),
    Column("title", Text, nullable=False, comment="the title in the report of the newest date seen"),
    Column("created_at", DateTime(timezone=True), comment="when the content was created; empty where unreadable"),
    Column("first_seen", Date, nullable=False, comment="oldest report date that names the content"),
    Column("last_seen", Date, nullable=False, comment="newest report date that names the content"),
    Column(
        "last_seen_type",
        _key_text(),
        nullable=False,
        comment="the report of that date that gave the title; VOD before LIVE",
    ),
    PrimaryKeyConstraint("content_id"),
    comment="What was watched: one row per content.",
)

# By the key of the facts, a content's named rows of a slice and streaming type are exactly its named customers.
content_daily: Final = Table(
    "content_daily",
    metadata,
    Column("report_date", Date, nullable=False, comment="the day on which the views began, in the source's zone"),
    Column("report_type", _key_text(), nullable=False, comment="the report that holds the rows: LIVE or VOD"),
    Column("content_id", _key_text(), nullable=False, comment="BlendVision's content id, character for character"),
    Column("streaming_type", _key_text(), nullable=False, comment="what was played: VOD, LIVE or LIVE_TO_VOD"),
    Column("customers", BigInteger, nullable=False, comment="named customers, which are also its named rows"),
    Column("watch_seconds", Numeric, nullable=False, comment="seconds watched, anonymous viewers included; exact"),
    Column("anonymous_seconds", Numeric, nullable=False, comment="seconds watched by anonymous viewers; exact"),
    Column("has_anonymous", Boolean, nullable=False, comment="whether watch_time has a row of anonymous viewers"),
    PrimaryKeyConstraint("report_date", "report_type", "content_id", "streaming_type"),
    Index("content_daily_content_id", "content_id"),
    _report_type_is_known(),
    comment="What each content was watched per day, report and streaming type: the facts, summed in the transaction "
    "that changes them.",
)

customer_count: Final = Table(
    "customer_count",
    metadata,
    Column("period", Text, nullable=False, comment="day or month"),
    Column("start_date", Date, nullable=False, comment="the day, or the first day of the month"),
    Column("report_type", _key_text(), nullable=False, comment="LIVE or VOD; empty text: both together"),
    Column("streaming_type", _key_text(), nullable=False, comment="VOD, LIVE or LIVE_TO_VOD; empty text: all together"),
    Column("content_id", _key_text(), nullable=False, comment="one content; empty text: all together"),
    Column("customers", BigInteger, nullable=False, comment="different named customers; exact"),
    Column(
        "facts_version",
        Numeric,
        nullable=False,
        comment="the sum of facts_version of the period's slices when they were counted",
    ),
    PrimaryKeyConstraint("period", "start_date", "report_type", "streaming_type", "content_id"),
    CheckConstraint("period IN ('day', 'month')", name="period_is_known"),
    comment="Different customers, which cannot be added up: counted after loads. Valid while facts_version is the sum "
    "of that of the period's slices.",
)

warehouse: Final = Table(
    "warehouse",
    metadata,
    Column("org_id", Text, nullable=False, comment="the organization whose data this schema holds"),
    Column(
        "claimed_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when the first accepted answer was recorded",
    ),
    PrimaryKeyConstraint("org_id"),
    Index("warehouse_is_one", text("(true)"), unique=True),
    comment="One row: the organization that this schema belongs to, set by its first accepted answer.",
)

report_slice: Final = Table(
    "report_slice",
    metadata,
    Column("report_date", Date, nullable=False, comment="the day that is reported, in the source's zone"),
    Column("report_type", _key_text(), nullable=False, comment="LIVE or VOD"),
    Column("state", Text, nullable=False, comment="loaded, unavailable, empty, held or failed"),
    Column("revision", Integer, nullable=False, comment="the revision that is stored; 0: none was ever accepted"),
    Column("report_sha256", Text, comment="hash of the stored revision's CSV"),
    Column(
        "read_as",
        Text,
        comment="header text and column of each column of the stored revision, as JSON; read otherwise, it is loaded "
        "again",
    ),
    Column("rows_stored", BigInteger, nullable=False, comment="rows of the slice in watch_time"),
    Column("watch_seconds", Numeric, nullable=False, comment="their sum"),
    Column("checked_at", DateTime(timezone=True), nullable=False, comment="when the source was last asked"),
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
    _report_type_is_known(),
    CheckConstraint("state IN ('loaded', 'unavailable', 'empty', 'held', 'failed')", name="state_is_known"),
    CheckConstraint("(revision = 0) = (report_sha256 IS NULL)", name="revision_has_hash"),
    CheckConstraint("(report_etag IS NULL) = (report_source IS NULL)", name="etag_has_source"),
    CheckConstraint("held_sha256 IS NULL OR state = 'held'", name="only_held_has_hash"),
    comment="What is known of each slice; no row: never tried.",
)

report_revision: Final = Table(
    "report_revision",
    metadata,
    Column("report_date", Date, nullable=False, comment="the day that is reported, in the source's zone"),
    Column("report_type", _key_text(), nullable=False, comment="LIVE or VOD"),
    Column("revision", Integer, nullable=False, comment="1 for the first accepted report of the slice"),
    Column("report_sha256", Text, nullable=False, comment="hash of the CSV"),
    Column("report_bytes", BigInteger, nullable=False, comment="size of the CSV"),
    Column("rows_read", BigInteger, nullable=False, comment="lines of the report, without header and blank lines"),
    Column("rows_merged", BigInteger, nullable=False, comment="lines added to another line of the same key"),
    Column(
        "rows_repeated", BigInteger, nullable=False, comment="merged lines of a named customer that repeat one whole"
    ),
    Column("rows_rejected", BigInteger, nullable=False, comment="lines not loaded; see report_reject"),
    Column("rows_inserted", BigInteger, nullable=False, comment="rows of watch_time that came with this revision"),
    Column("rows_updated", BigInteger, nullable=False, comment="rows whose seconds this revision changed"),
    Column("rows_deleted", BigInteger, nullable=False, comment="rows that this revision no longer has"),
    Column("rows_unchanged", BigInteger, nullable=False, comment="rows that were there before, with the same seconds"),
    Column("seconds_before", Numeric, nullable=False, comment="the slice's sum before this revision"),
    Column("seconds_after", Numeric, nullable=False, comment="the slice's sum with this revision"),
    Column("created_at_unread", BigInteger, nullable=False, comment="rows with a creation time in no known format"),
    Column("unknown_types", BigInteger, nullable=False, comment="rows with an undocumented streaming type (loaded)"),
    Column("overruled", Text, comment="what a guard said against the report that a person accepted all the same"),
    Column("code_version", Text, nullable=False, comment="the version of watch-time that loaded it"),
    Column(
        "loaded_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="when it was committed"
    ),
    Column("load_duration", Interval, comment="from the report's address to its ledger row: download, checks, load"),
    PrimaryKeyConstraint("report_date", "report_type", "revision"),
    _report_type_is_known(),
    CheckConstraint(
        "rows_inserted + rows_updated + rows_unchanged = rows_read - rows_rejected - rows_merged", name="rows_add_up"
    ),
    comment="Append-only: one row per accepted revision of a slice.",
)

report_check: Final = Table(
    "report_check",
    metadata,
    Column("report_date", Date, nullable=False, comment="the slice's date"),
    Column("report_type", _key_text(), nullable=False, comment="the slice's report: LIVE or VOD"),
    Column("first_at", DateTime(timezone=True), nullable=False, comment="when it was met first"),
    Column("last_at", DateTime(timezone=True), nullable=False, comment="when it was met last"),
    Column("times", Integer, nullable=False, comment="how often in a row"),
    Column("result", Text, nullable=False, comment="loaded, unchanged, empty, unavailable, withdrawn, held or failed"),
    Column("message", Text, comment="what there is to say about it"),
    PrimaryKeyConstraint("report_date", "report_type", "first_at"),
    _report_type_is_known(),
    comment="What the checks of a slice met, in order; the same answer several times in a row is one line.",
)

report_reject: Final = Table(
    "report_reject",
    metadata,
    Column("report_date", Date, nullable=False, comment="the day that is reported, in the source's zone"),
    Column("report_type", _key_text(), nullable=False, comment="LIVE or VOD"),
    Column("report_sha256", Text, nullable=False, comment="the report that holds the line"),
    Column("line_number", BigInteger, nullable=False, comment="physical line at which the record begins; header: 1"),
    Column("reason", Text, nullable=False, comment="why the line was not loaded"),
    Column("raw_text", Text, nullable=False, comment="the record as it stands in the file"),
    PrimaryKeyConstraint("report_date", "report_type", "report_sha256", "line_number"),
    _report_type_is_known(),
    comment="Lines that were not loaded: of each accepted revision, and of the last refused report of a slice.",
)

report_notice: Final = Table(
    "report_notice",
    metadata,
    Column("report_date", Date, nullable=False, comment="the slice's date"),
    Column("report_type", _key_text(), nullable=False, comment="the slice's report: LIVE or VOD"),
    Column("condition", Text, nullable=False, comment="held, failed, withdrawn or late"),
    Column(
        "told_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="when they were told"
    ),
    PrimaryKeyConstraint("report_date", "report_type"),
    _report_type_is_known(),
    comment="The condition of a slice that people were last told of; no row: never told anything, or all is well.",
)
