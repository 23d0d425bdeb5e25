-- What people were last told of each slice that was in trouble then.
SELECT report_date, report_type, condition
FROM report_notice
