"""Queries on the ledger and the facts. Changes nothing.

status                 the state of each slice in a range of dates
explain                all that is known of one slice
verify_against_source  compares the facts with the report as it is now
doctor                 checks settings, database, archive and channels, and the network
source_checks          doctor's checks of API, clock and download host
check_result           what one of its checks found
init_checks            tries single settings, for `init`
sql_runner             runs SQL that a person typed
backfill_estimate      how long a backfill may take
page_reader            reads the figures of the page
page_data              those figures, and how periods compare
"""
