-- The slice's rows were changed, and its revision is the same.
UPDATE report_slice
SET facts_version = facts_version + 1
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
