-- Contents of one chunk.
-- Reads: incoming_content (load/create_incoming_content)
COPY incoming_content ({content}) FROM STDIN
