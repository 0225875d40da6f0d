"""De-identification beside its peers: an archive, a worker for each tool, and what they made."""
