-- The key, built once over all rows.
ALTER TABLE {partition}
    ALTER COLUMN report_date DROP DEFAULT,
    ALTER COLUMN report_type DROP DEFAULT,
    ADD PRIMARY KEY (content_id, customer_id, streaming_type, report_date, report_type)
