"""Core: errors, files, counts, dims and executors; knows nothing of scaling laws."""
