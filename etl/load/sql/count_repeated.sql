-- Lines of an identified customer that repeat a line of the same key and seconds. A content with several titles in this
-- report may have one such line per title without repeating any.
-- Reads: incoming_content (load/create_incoming_content)
WITH variants AS (
    SELECT content_id, count(*) AS variants
    FROM (SELECT DISTINCT {content} FROM incoming_content) AS distinct_content
    GROUP BY content_id
)
SELECT coalesce(sum(greatest(lines - variants, 0)), 0)::bigint
FROM (
    SELECT content_id, count(*) AS lines
    FROM {lines}
    WHERE customer_id <> ''
    GROUP BY {row}
    HAVING count(*) > 1
) AS equal_lines
JOIN variants USING (content_id)
