-- A check that met trouble, or nothing: it says nothing about what is stored, so state and reason stay.
UPDATE report_slice
SET checked_at = now(),
    last_check = %(last_check)s
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
