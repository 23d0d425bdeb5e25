"""Runs: which slices are due, and how they are executed. `pipeline` processes each slice.

planner          which slices a command works on, and in what order
plan_runner      runs the slices of a plan, and sums up
run_context      database, source, archive and pipeline, opened together
thread_executor  runs slices in threads of this process
dask/            runs them on the workers of a Dask scheduler
"""
