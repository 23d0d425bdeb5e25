-- The key, built once over all rows.
ALTER TABLE {partition}
    ALTER COLUMN report_date DROP DEFAULT,
    ALTER COLUMN report_type DROP DEFAULT,
    ADD PRIMARY KEY ({row_key}, report_date, report_type)
