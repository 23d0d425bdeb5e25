"""The process: logs, redaction of secrets, cancellation, tuning.

logs            structured logs
redaction       keeps secrets out of what is written
cancellation    a stop that was requested
time_limit      work with a hard time limit
process_tuning  the memory allocator
"""
