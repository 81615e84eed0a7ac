"""A simulated LLM provider: one small server that speaks the providers' wire formats.

It enforces rate limits with true headers, injects latency and faults from a seed, answers
from a key file and counts what it billed per request id. A file per wire format
(`wire_openai.py`); everything else is neutral to the format.
"""

from providers.simulator.profile import Profile, load_profile, load_profiles
from providers.simulator.run import run_simulator
from providers.simulator.server import SimulatorServer, serve

__all__ = [
    "Profile",
    "SimulatorServer",
    "load_profile",
    "load_profiles",
    "run_simulator",
    "serve",
]
