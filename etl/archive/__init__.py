"""Accepted revisions outside the warehouse, as raw bytes and as Parquet, in a folder or object store.

Imported only where an archive is configured.

    archive         what a load stores, and what a replay reads
    manifests       whose the archive is, and which revisions were committed
    raw             a revision as the source sent it
    parquet         a revision as rows
    layout          names of the files
    audit           compares the archive with the ledger
    timeout_store   a store whose every call is bounded in time
    store_backends  folder, S3, Google, Azure
"""
