"""The command line: parse, call one function, turn errors into exit codes. No logic of its own.

main                  the program: its commands, its errors, its exit code
options               options that several commands share
output                what goes to stdout and stderr, as text or JSON
setup_commands        init, migrate
load_commands         run, backfill, compact
diagnostics_commands  status, explain, verify, revisions, report, doctor
sql_command           sql
archive_command       archive
sandbox_commands      sandbox, demo
"""
