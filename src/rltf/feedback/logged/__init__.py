"""Logged feedback: what chat products, annotators and earlier runs recorded."""

from rltf.feedback.logged.entries import LogEntry, read_log, write_log

__all__ = ["LogEntry", "read_log", "write_log"]
