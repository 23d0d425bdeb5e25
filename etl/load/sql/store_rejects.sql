-- The rejected lines of an accepted report.
INSERT INTO report_reject SELECT * FROM incoming_reject
