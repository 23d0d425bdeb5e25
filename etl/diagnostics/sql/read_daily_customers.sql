-- Different identified customers of each loaded day from one date to another, both included; empty where not yet counted.
SELECT report_date,
       customers
FROM watch_time_customers
WHERE report_date BETWEEN %(since)s AND %(end)s
ORDER BY report_date
