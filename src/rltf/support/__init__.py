"""What everything may use: errors, seeds, texts, rows of files, guarded processes, the user's Python files."""
