"""Turns a report file into validated chunks and COPY bytes. Pure: no database, no network.

record_splitter  splits bytes into blocks of CSV records
record_block     such a block: where its records and fields begin and end
record_parser    its records as a table of text
normalise        records to checked, typed chunks (pandas)
arrow_pandas     between pandas and Arrow
copy_encoder     chunks to bytes for COPY
copy_format      the text format of COPY
prefetch         runs an iterator ahead, in a thread
"""
