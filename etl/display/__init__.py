"""Output for people: terminal tables, the history of a slice, progress, and the HTML page.

It shows values that others read; it never asks the database.

    terminal          the consoles: data to stdout, the rest to stderr; text that is safe there
    run_tables        outcomes, plans, checks: what a command shows when it is done
    status_screen     the page of `status`
    revisions_screen  the page of `revisions`
    verify_screen     the page of `verify`
    explain_screen    the page of `explain`
    archive_screen    what the archive holds and lacks
    query_table       what a statement returned
    date_ranges       what is said of many slices is said once, of ranges of dates
    message_layout    errors, warnings and next steps, with commands that can be pasted
    table_layout      tables and prose for the width at hand
    number_format     numbers as people read them
    progress          the live lines of long work
    page/             the page, as HTML or PNG
"""
