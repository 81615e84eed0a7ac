"""`python -m providers.simulator [--port N] [--profile FILE] [--port-file PATH]`."""

import sys

from providers.simulator.run import main

sys.exit(main())
