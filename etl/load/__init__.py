"""Loads a normalized report into the fact table, in the caller's transaction. SQL in `sql/`, one statement per file.

load_strategy           chooses how a slice is loaded
load_steps              the steps of a load, and what both strategies share
new_partition_load      a slice that no partition covers: fill, key, attach
difference_load         a slice that one covers: compare, write what differs
partition_bounds        names and bounds of the partitions
refused_report_rejects  stores the rejected lines of a refused report; deletes stale ones
month_merge             merges a month's partitions into one
compaction              merges each settled month
distinct_customers      counts distinct customers, after loads
compact_command         `compact`: merges and counts all that is settled
"""
