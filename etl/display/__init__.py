"""What people look at: terminal tables, a slice's narrative, progress, and the page.

It shows values that others read; it never asks the database.

    terminal   tables and lists for the terminal
    narrative  what happened to a slice, in sentences
    progress   the live bar of a long run
    page/      the page, as HTML or PNG
"""
