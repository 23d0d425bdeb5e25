-- Whether several lines of the report have one key. Of lines that the table has a row for, there are then more than such
-- rows; the others are all among the differences.
-- Reads: difference (load/compare_slice)
SELECT %(lines)s - missing > stored - surplus OR repeated
FROM (
    SELECT count(*) FILTER (WHERE table_seconds IS NULL) AS missing,
           count(*) FILTER (WHERE report_seconds IS NULL) AS surplus
    FROM difference
) AS one_sided
CROSS JOIN (
    SELECT count(*) AS stored
    FROM watch_time
    WHERE report_date = %(report_date)s
      AND report_type = %(report_type)s
) AS in_the_table
CROSS JOIN (
    SELECT EXISTS (
        SELECT 1 FROM difference
        WHERE table_seconds IS NULL
        GROUP BY {row_key}
        HAVING count(*) > 1
    ) AS repeated
) AS in_the_report
