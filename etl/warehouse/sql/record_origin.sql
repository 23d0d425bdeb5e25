-- Where the stored report was downloaded from; nothing is written where that is known.
UPDATE report_slice
SET report_source = %(source)s,
    report_etag = %(etag)s
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
  AND (report_source, report_etag) IS DISTINCT FROM (%(source)s, %(etag)s)
