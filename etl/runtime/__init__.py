"""The process: logs, redaction of secrets, cancellation, tuning.

logs            structured logs
redaction       keeps secrets out of what is written
cancellation    a stop that was requested
process_tuning  the memory allocator
"""
