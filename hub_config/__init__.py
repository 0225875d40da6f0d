"""JupyterHub's configuration: tiers and deployments as data, and the few pieces that the hub's process runs."""
