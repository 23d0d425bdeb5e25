"""`backfill --dask`: slices on the workers of a Dask scheduler. Nothing secret passes through Dask.

client             connects to a scheduler that can be trusted, or starts one on this machine
executor           hands slices out, and collects outcomes
worker             what runs on a worker
database_identity  an advisory lock that proves that two sessions are in the same database
"""
