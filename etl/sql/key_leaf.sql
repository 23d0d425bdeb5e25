-- The key, built once over all rows, and the bound as a CHECK, so that ATTACH need not scan.
ALTER TABLE {partition}
    ALTER COLUMN report_date DROP DEFAULT,
    ALTER COLUMN report_type DROP DEFAULT,
    ADD CONSTRAINT {bound} CHECK (report_date = {start_date} AND report_type = {start_type}),
    ADD PRIMARY KEY (content_id, customer_id, streaming_type, report_date, report_type)
