-- The slice's lock: held to the end of the transaction, gone with the session, safe behind transaction pooling.
SELECT pg_try_advisory_xact_lock(
    hashtextextended(format('watch_time %%s %%s', current_schema(), %(slice)s::text), 0)
)
