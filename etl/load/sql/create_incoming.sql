-- Where a report waits beside the stored slice. Not temporary: parallel workers cannot read temporary tables.
CREATE UNLOGGED TABLE {incoming} (
    content_id     text COLLATE "C" NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,
    streaming_type text COLLATE "C" NOT NULL,
    watch_seconds  numeric NOT NULL
);
{distribute}
