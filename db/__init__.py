"""Durable state: schema, migrations, named statements, the ledger."""
