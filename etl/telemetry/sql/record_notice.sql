-- Note what people were told of a slice.
INSERT INTO report_notice (report_date, report_type, condition, told_at)
VALUES (%(report_date)s, %(report_type)s, %(condition)s, now())
ON CONFLICT (report_date, report_type) DO UPDATE
SET condition = excluded.condition,
    told_at = excluded.told_at
