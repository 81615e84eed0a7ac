"""The words of the trade: pure types, arithmetic and settings. Imports nothing of ours."""
