-- Rows of the slice; date and type come from the table's defaults.
COPY {table} (content_id, customer_id, streaming_type, watch_seconds) FROM STDIN
