"""`batchyard demo`: real messages through a whole yard, with simulated clouds and a real model.

plan      what is asked of whom: the configuration and the job's lines
run       starts the yard, submits, watches, collects
report    reads the answers against the gold labels, and says what happened
"""
