-- What the latest loads of each type took and held: medians, and of how many.
SELECT report_type,
       count(*) AS loads,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY load_duration) AS duration,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY report_bytes) AS report_bytes
FROM (
    SELECT report_type,
           load_duration,
           report_bytes,
           row_number() OVER (PARTITION BY report_type ORDER BY loaded_at DESC) AS place
    FROM report_revision
    WHERE load_duration IS NOT NULL
) AS latest
WHERE place <= %(most)s
GROUP BY report_type
