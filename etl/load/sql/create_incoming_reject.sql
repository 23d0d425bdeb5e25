-- Where the rejected lines of a report wait until it is accepted. The columns that are the same on every line are not
-- sent over the wire.
CREATE TEMPORARY TABLE incoming_reject (LIKE report_reject) ON COMMIT DROP;
ALTER TABLE incoming_reject
    ALTER COLUMN report_date SET DEFAULT {start_date},
    ALTER COLUMN report_type SET DEFAULT {start_type},
    ALTER COLUMN report_sha256 SET DEFAULT {report_sha256}
