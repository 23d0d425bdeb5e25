"""A stable name of the error in `report_slice`, in place of the name of a class."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the column, and what it holds."""
    op.execute("""
        ALTER TABLE report_slice RENAME COLUMN error_class TO error_code;
        UPDATE report_slice
        SET error_code = trim(LEADING '_' FROM lower(regexp_replace(error_code, '([A-Z])', '_\\1', 'g')))
        WHERE error_code IS NOT NULL AND error_code <> 'WatchTimeError';
        UPDATE report_slice SET error_code = 'bug' WHERE error_code = 'WatchTimeError';
        COMMENT ON COLUMN report_slice.error_code IS 'the kind of the error behind held and failed';
    """)
