-- Contents of one chunk.
COPY incoming_content (content_id, title, created_at) FROM STDIN
