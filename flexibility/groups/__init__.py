"""Clusters and pools on the API, and the end of a cluster."""
