"""The HTML report of an evaluation: one file that opens from disk, with charts and pictures inside."""
