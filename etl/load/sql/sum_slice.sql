-- What each content was watched, from the rows that the slice has now. First into a table of its own, because only a
-- query that writes no table that others see may have parallel workers.
CREATE TEMPORARY TABLE slice_sums ON COMMIT DROP AS {sums}
