-- What shows that the source is done with a date that has no report: the date's other report, and the nearest later one
-- of the same type that was there.
SELECT other.report_type AS other_type,
       other.state AS other_state,
       (
           SELECT min(report_date)
           FROM report_slice
           WHERE report_type = %(report_type)s
             AND report_date > %(report_date)s
             AND (revision > 0 OR state = 'held')
       ) AS published_later
FROM (VALUES (1)) AS one
LEFT JOIN report_slice AS other
    ON other.report_date = %(report_date)s
   AND other.report_type <> %(report_type)s
   AND (other.revision > 0 OR other.state IN ('held', 'empty'))
