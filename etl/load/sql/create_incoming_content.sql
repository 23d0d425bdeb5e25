-- The contents that the report names, in order of appearance; one row per spelling of title and creation time.
CREATE TEMPORARY TABLE incoming_content (
    ordinal    bigint GENERATED ALWAYS AS IDENTITY,
    content_id text COLLATE "C" NOT NULL,
    title      text NOT NULL,
    created_at timestamptz
) ON COMMIT DROP
