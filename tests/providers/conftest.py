"""Properties are searched without a deadline: a slow machine is no finding."""

from hypothesis import settings

settings.register_profile("batchyard", deadline=None)
settings.load_profile("batchyard")
