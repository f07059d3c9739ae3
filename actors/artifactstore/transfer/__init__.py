"""Exports and imports of the log as files, and backups of log and objects together.

`log_files` writes and reads one file, `arrival` puts events into a log that may have some of them, `exporting` and
`importing` carry a whole log; `directory` is a backup on disk, `backup`, `restore` and `check` work on one, `objects`
moves and compares what the log names. All of it runs in the caller's task and asks the actors.
"""
