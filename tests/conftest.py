"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: tests have limits in time of their own.
settings.register_profile("house", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
