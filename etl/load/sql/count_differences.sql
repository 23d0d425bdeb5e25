-- How many rows only the report has, only the table has, and how many have other seconds.
-- Reads: difference (load/compare_slice)
SELECT count(*) FILTER (WHERE table_seconds IS NULL) AS missing,
       count(*) FILTER (WHERE report_seconds IS NULL) AS surplus,
       count(*) FILTER (WHERE report_seconds <> table_seconds) AS changed
FROM difference
