-- The rejected lines of an accepted report.
-- Reads: incoming_reject (load/create_incoming_reject)
INSERT INTO report_reject SELECT * FROM incoming_reject
