-- What each content was watched by the given facts, as a part of another statement.
(
    SELECT content_id,
           streaming_type,
           count(*) FILTER (WHERE customer_id <> '') AS customers,
           sum(watch_seconds) AS watch_seconds,
           coalesce(sum(watch_seconds) FILTER (WHERE customer_id = ''), 0) AS anonymous_seconds,
           bool_or(customer_id = '') AS has_anonymous
    FROM {facts} AS facts
    GROUP BY content_id, streaming_type
)
