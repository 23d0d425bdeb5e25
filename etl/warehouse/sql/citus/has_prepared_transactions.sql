-- Whether a node has a transaction that is prepared and not committed yet, or cannot be asked.
SELECT coalesce(bool_or(NOT success OR result <> '0'), false) AS has_prepared_transactions
FROM run_command_on_workers('SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()')
