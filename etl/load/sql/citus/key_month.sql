-- A month's key as on a single server; Citus takes a constraint or a key in a command of its own only.
ALTER TABLE {partition}
    ADD CONSTRAINT {bound} CHECK (report_date >= {start_date} AND report_date < {end_date});
ALTER TABLE {partition}
    ADD PRIMARY KEY ({row_key}, report_date, report_type);
CREATE INDEX ON {partition} USING brin (report_date, report_type) WITH (pages_per_range = 16);
ANALYZE {partition}
