-- Rejected lines of one chunk; date, type and hash come from the table's defaults.
COPY incoming_reject (line_number, reason, raw_text) FROM STDIN
