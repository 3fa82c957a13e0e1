"""Fuzz tests: every reader of files and of requests gets damaged ones, and either refuses them by name or returns valid contents."""
