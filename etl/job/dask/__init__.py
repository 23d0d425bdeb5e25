"""`backfill --dask`: slices on the workers of a Dask scheduler. No secrets pass through Dask.

client               connects to a scheduler that can be trusted, or starts one on this machine
executor             submits a plan to a cluster
submitted_plan       collects the outcomes, and submits again what was lost
scheduler_health     whether the scheduler answers and has workers, within bounds
task_errors          what the error of a task means for its slice or the run
task_settings        settings that the command sends to the workers
worker               what runs on a worker
worker_context       a worker's database, source, archive and pipeline for a run
log_forwarding       forwards the log of local workers to the command's log
progress_forwarding  forwards the pauses of workers to the command's terminal
ssl_workaround       a workaround for a defect of Python's ssl: a lost connection breaks others
database_identity    an advisory lock that proves that two sessions are in the same database
"""
