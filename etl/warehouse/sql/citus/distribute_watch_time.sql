-- The facts by content, those that are there already included, partition by partition; the local copy of them goes.
SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout');
SET LOCAL client_min_messages = warning;
SELECT create_distributed_table('watch_time', 'content_id');
SELECT truncate_local_data_after_distributing_table('watch_time')
