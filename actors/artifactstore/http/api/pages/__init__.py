"""The pages for browsers: packages, one package, its files, comparisons and the log, rendered by the server.

A page is a row of the table of routes, as the rest of the API, so a token sees on it what it may read and nothing else.
"""
