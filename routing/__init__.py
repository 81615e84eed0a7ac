"""Decisions without I/O: which deployments may answer a request, and in which order."""
