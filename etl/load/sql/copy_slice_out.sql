-- Every row of a slice in key order, with what its report says of the content. Texts are quoted, NULL is not.
-- Reads: incoming_content (load/create_incoming_content)
COPY (
    SELECT facts.content_id, named.title, named.created_at, facts.streaming_type, facts.customer_id, facts.watch_seconds
    FROM {facts} AS facts
    JOIN (
        SELECT DISTINCT ON (content_id)
               content_id, title, (extract(epoch FROM created_at) * 1000000)::bigint AS created_at
        FROM incoming_content
        ORDER BY content_id, ordinal DESC
    ) AS named USING (content_id)
    ORDER BY facts.content_id, facts.customer_id, facts.streaming_type
) TO STDOUT (FORMAT csv, FORCE_QUOTE (content_id, title, streaming_type, customer_id))
