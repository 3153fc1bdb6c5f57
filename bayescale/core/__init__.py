"""Core: errors, files, counts, dims and executors. Nothing in it knows about scaling laws."""
