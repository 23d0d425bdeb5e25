-- A bare table for a month.
CREATE TABLE {partition} (LIKE watch_time INCLUDING CONSTRAINTS);
{distribute}
