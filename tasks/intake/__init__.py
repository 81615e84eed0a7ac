"""From a file to requests: each line checked, and mended or refused with its reason."""
