-- Titles of the contents that were watched last.
SELECT title
FROM content
ORDER BY last_seen DESC
LIMIT %(most)s
