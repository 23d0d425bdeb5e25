-- Frozen: whoever began to read before our commit, and looks at watch_time only after it, sees these rows too. Written in
-- the ordinary way they would be too young for that transaction, and the month would look empty to it.
COPY {partition} FROM STDIN (FORMAT binary, FREEZE)
