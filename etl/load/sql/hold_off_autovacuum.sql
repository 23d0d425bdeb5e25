-- The month's partitions are about to be dropped. Autovacuum gives way to who waits for longer than deadlock_timeout, a
-- second, and keeps away while this lock is held; readers and loads do not conflict with it.
LOCK TABLE {slices} IN SHARE UPDATE EXCLUSIVE MODE
