-- The partitions of a month's slices, whose rows the month's table holds.
DROP TABLE {slices}
