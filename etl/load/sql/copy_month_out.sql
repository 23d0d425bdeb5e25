-- The month's rows in the order of its slices, so that each slice's rows lie together.
COPY (
    SELECT *
    FROM watch_time
    WHERE report_date >= {start_date}
      AND report_date < {end_date}
) TO STDOUT (FORMAT binary)
