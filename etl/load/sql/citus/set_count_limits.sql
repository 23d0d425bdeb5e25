-- As on a single server, and the same on the nodes. What they send, every customer of each shard, may be more than Citus
-- lets a subquery fetch by default (1 GB).
SET LOCAL citus.propagate_set_commands = 'local';
SET LOCAL citus.max_intermediate_result_size = -1;
SET LOCAL statement_timeout = '2h';
SET LOCAL work_mem = '64MB'
