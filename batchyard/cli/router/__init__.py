"""`batchyard router`: a file a command."""
