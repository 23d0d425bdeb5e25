"""Processes one slice, from its report to its row in the ledger. The only package that uses all stages.

slice_sync        brings one slice up to date, stage by stage
report_reader     reads a downloaded report for a load
guards            what keeps a suspicious report out
guard_stage       asks them of a load, and whether a person overrode them
archive_stage     stores an accepted revision in the archive
not_found_policy  what a 404 means
outcome_recorder  records in the ledger what came of it
outcome_log       logs what came of it
replay            restores slices from the archive
"""
