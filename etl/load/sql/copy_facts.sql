-- Rows of the slice; date and type come from the table's defaults, where the table has them.
COPY {lines} ({row}) FROM STDIN
