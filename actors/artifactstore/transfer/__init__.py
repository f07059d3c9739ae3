"""Exports and imports of the log as files, and backups of the log with its objects.

`log_files` writes and reads one log file. `log_importer` adds events to a log that may already have some of them.
`exporting` and `importing` copy a whole log. `directory` is a backup on disk, with its log in `backup_log` and its
objects in `backup_objects`; `backup`, `restore` and `check` use them. `objects` lists the objects that a log names. All
code runs in the caller's task and sends requests to the actors.
"""
