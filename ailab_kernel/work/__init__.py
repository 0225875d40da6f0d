"""Durable jobs (DBOS) and compute (Dask): any room above may queue work."""
