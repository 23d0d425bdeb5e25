"""The database: connections, schema, ledger. Never commits on its own. SQL in `sql/`, one statement per file.

database           connects; transactions; retries
transactions       what a transaction is told: its settings, savepoints, queries
driver_errors      psycopg's errors, translated
sql_files          the SQL of a file, with the contract's columns filled in
embedded_postgres  a Postgres server of the program's own
citus              what a Citus cluster needs to be told otherwise
table_definitions  the tables, declared with SQLAlchemy
schema             migrations, whether the schema is current, and whose data it holds
ledger             report_slice: what is known of each slice, and what is noted of it
revisions          report_revision: accepted revisions, and what restatements changed
freshness          how late reports are
"""
