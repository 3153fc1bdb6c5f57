"""Prediction: posterior draws → predictive draws at queries, with their reach and measured coverage."""
