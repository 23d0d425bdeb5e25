-- How many rows only the report has, and how many only the table has.
SELECT count(*) FILTER (WHERE table_seconds IS NULL) AS missing,
       count(*) FILTER (WHERE report_seconds IS NULL) AS surplus
FROM difference
