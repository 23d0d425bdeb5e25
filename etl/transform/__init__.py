"""File in, clean chunks and COPY bytes out. Pure: no database, no network.

record_splitter  splits bytes into CSV records
normalise        records to checked, typed chunks (pandas)
arrow_pandas     between pandas and Arrow
copy_encoder     chunks to bytes for COPY
copy_format      the text format of COPY
prefetch         runs an iterator ahead, in a thread
"""
