-- The key, the bound as a CHECK, so that ATTACH need not scan, and an index of a few pages that finds a slice's rows
-- again: they lie together.
ALTER TABLE {partition}
    ADD CONSTRAINT {bound} CHECK (report_date >= {start_date} AND report_date < {end_date}),
    ADD PRIMARY KEY (content_id, customer_id, streaming_type, report_date, report_type);
CREATE INDEX ON {partition} USING brin (report_date, report_type) WITH (pages_per_range = 16);
ANALYZE {partition}
