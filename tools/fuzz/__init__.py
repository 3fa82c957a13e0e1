"""Fuzz tests: every reader of files gets damaged ones, and either refuses them by name or returns valid contents."""
