"""A run: which slices are due, and who runs them. What happens to one slice is the pipeline's.

planner          which slices a command works on, and in what order
runner           runs the slices of a plan, and sums up
run_context      database, source, archive and pipeline, opened together
thread_executor  runs slices in threads of this process
dask/            runs them on the workers of a Dask scheduler
"""
