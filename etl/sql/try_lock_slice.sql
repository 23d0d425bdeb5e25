-- The slice's lock: held to the end of the transaction, gone with the session, safe behind transaction pooling.
SELECT pg_try_advisory_xact_lock(
    hashtextextended(format('watch_time %%s %%s %%s', current_schema(), %(report_date)s::text, %(report_type)s::text), 0)
)
