"""Parts: laws, resources, responses, noise, discrepancies and pooling, found by their files."""
