"""A run: which slices are due, and who runs them. What happens to one slice is the pipeline's.

runner           plans the slices of a run, runs them, and sums up
run_context      database, source, archive and pipeline, opened together
thread_executor  runs slices in threads of this process
dask/            runs them on the workers of a Dask scheduler
"""
