-- The contents on every node, those that are there already included; the local copy of them goes.
SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout');
SET LOCAL client_min_messages = warning;
SELECT create_reference_table('content');
SELECT truncate_local_data_after_distributing_table('content')
