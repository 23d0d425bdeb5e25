"""Values that all packages share. Imports no other package of the project.

slices           report types, slices, their states; which are due
pipeline_values  a report's file, chunks, counts, changes
contract         the columns of a report, and what their values may be
outcome          how to request a slice, and its outcome
plurals          a count with its noun, as people read it
loopback         which hosts are this machine
errors           the errors, their exit codes
"""
