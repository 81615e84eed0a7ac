"""Talking to model APIs: adapters (pure), transport, catalog, prices, tokens, simulator."""
