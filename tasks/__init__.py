"""Prefect tasks by failure policy: crawl (retried), extract (accelerator), annotate (CPU), publish (never retried)."""
