"""The process: logs, progress, redaction of secrets, cancellation, tuning.

logs               structured logs
progress_reporter  how far long work is
redaction          keeps secrets out of what is written
cancellation       a stop that was requested
call_timeout       work with a hard time limit
process_tuning     the memory allocator
"""
