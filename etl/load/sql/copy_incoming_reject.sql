-- Rejected lines of one chunk; date, type and hash come from the table's defaults.
-- Reads: incoming_reject (load/create_incoming_reject)
COPY incoming_reject (line_number, reason, raw_text) FROM STDIN
