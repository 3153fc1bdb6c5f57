"""Parts: laws, resources, penalties, responses, noise, discrepancies and pooling, found by their files."""
