-- Where a report waits beside the stored slice.
CREATE TEMPORARY TABLE incoming (
    content_id     text COLLATE "C" NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,
    streaming_type text COLLATE "C" NOT NULL,
    watch_seconds  numeric NOT NULL
) ON COMMIT DROP
