"""Prefect flows, one file a deployment: order only, no work."""
