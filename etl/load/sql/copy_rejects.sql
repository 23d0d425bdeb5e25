-- Lines that are not loaded, with number, reason and raw text.
COPY report_reject (report_date, report_type, report_sha256, line_number, reason, raw_text) FROM STDIN
