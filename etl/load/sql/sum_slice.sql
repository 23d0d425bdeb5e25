-- What each content was watched, from the rows that the slice has now. First into a table of its own, because only a
-- query that writes no table that others see may have parallel workers.
CREATE TEMPORARY TABLE slice_sums ON COMMIT DROP AS
SELECT content_id,
       streaming_type,
       count(*) FILTER (WHERE customer_id <> '') AS customers,
       sum(watch_seconds) AS watch_seconds,
       coalesce(sum(watch_seconds) FILTER (WHERE customer_id = ''), 0) AS anonymous_seconds,
       bool_or(customer_id = '') AS has_anonymous
FROM {facts} AS facts
GROUP BY content_id, streaming_type
