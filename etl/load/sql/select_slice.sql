-- What is stored of a slice, as a part of another statement.
(
    SELECT {row}
    FROM watch_time
    WHERE report_date = {start_date}
      AND report_type = {start_type}
)
