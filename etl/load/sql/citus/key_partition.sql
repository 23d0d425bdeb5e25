-- A slice's key as on a single server; Citus takes a key in a command of its own only.
ALTER TABLE {partition}
    ALTER COLUMN report_date DROP DEFAULT,
    ALTER COLUMN report_type DROP DEFAULT;
ALTER TABLE {partition}
    ADD PRIMARY KEY ({row_key}, report_date, report_type)
