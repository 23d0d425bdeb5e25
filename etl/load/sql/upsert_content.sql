-- The title is that of the newest report (by date; VOD before LIVE on the same date), so that loading an old day never
-- brings an old title back. In key order, so that two loads at once do not lock each other out.
-- Reads: incoming_content (load/create_incoming_content)
INSERT INTO content AS stored ({content}, first_seen, last_seen, last_seen_type)
SELECT DISTINCT ON (content_id)
       {content}, %(report_date)s::date, %(report_date)s::date, %(report_type)s
FROM incoming_content
ORDER BY content_id, ordinal DESC
ON CONFLICT (content_id) DO UPDATE
SET title = CASE
        WHEN (excluded.last_seen, excluded.last_seen_type) >= (stored.last_seen, stored.last_seen_type)
        THEN excluded.title
        ELSE stored.title
    END,
    created_at = CASE
        WHEN (excluded.last_seen, excluded.last_seen_type) >= (stored.last_seen, stored.last_seen_type)
        THEN coalesce(excluded.created_at, stored.created_at)
        ELSE coalesce(stored.created_at, excluded.created_at)
    END,
    first_seen = least(stored.first_seen, excluded.first_seen),
    last_seen = greatest(stored.last_seen, excluded.last_seen),
    last_seen_type = CASE
        WHEN (excluded.last_seen, excluded.last_seen_type) >= (stored.last_seen, stored.last_seen_type)
        THEN excluded.last_seen_type
        ELSE stored.last_seen_type
    END
WHERE excluded.first_seen < stored.first_seen
   OR (excluded.last_seen, excluded.last_seen_type) > (stored.last_seen, stored.last_seen_type)
   OR (
       (excluded.last_seen, excluded.last_seen_type) = (stored.last_seen, stored.last_seen_type)
       AND ({excluded.content}) IS DISTINCT FROM ({stored.content})
   )
   OR (stored.created_at IS NULL AND excluded.created_at IS NOT NULL)
