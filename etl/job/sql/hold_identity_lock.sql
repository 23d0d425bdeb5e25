-- A lock that only this transaction has, under a number that nobody else takes: sessions of the same database see it.
SELECT pg_advisory_xact_lock(%(number)s)
