-- As on a single server; the nodes are not to wait longer either.
SET LOCAL citus.propagate_set_commands = 'local';
SET LOCAL lock_timeout = '50ms';
LOCK TABLE ONLY watch_time IN ACCESS EXCLUSIVE MODE
