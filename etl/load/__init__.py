"""A normalised report into the fact table, inside the caller's transaction. SQL in `sql/`, a file a statement.

slice_load  stages a report, compares it, and writes it
partitions  names and bounds of the partitions
rejects     stores the rejected lines of a refused report
compaction  merges a settled month's partitions into one
"""
