"""Shared leave to call deployments: one Lua script on a Redis-protocol server."""
