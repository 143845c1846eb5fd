"""What a profile means: paths, base profiles, merging, checks, the file's text. Pure functions; no I/O."""
