"""The archive: every accepted revision outside the warehouse, as raw bytes and as Parquet, in a folder or object store.

`layout` names the files, `storage` keeps them, `parquet` and `raw` are their forms. `keeping` is what a load does,
`audit` compares the archive with the ledger. Imported only where an archive is configured.
"""
