"""Processes one slice, from its report to its row in the ledger. The only package that uses all stages.

slice_sync        brings one slice up to date, stage by stage
report_reader     reads a downloaded report for a load
guards            checks that hold a suspicious report
guard_stage       runs the guards on a load, and applies overrides
archive_stage     stores an accepted revision in the archive
not_found_policy  what a 404 means
outcome_recorder  records the outcome in the ledger
outcome_log       logs the outcome
replay            restores slices from the archive
"""
