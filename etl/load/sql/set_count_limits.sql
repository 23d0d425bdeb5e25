-- Counting a month of large reports takes longer than any load. Different customers and contents in key order come
-- straight from the key's index; where there is none to follow, a sort in this much memory is many times quicker than
-- what Postgres plans with its default.
SET LOCAL statement_timeout = '2h';
SET LOCAL work_mem = '64MB'
