"""How properties are tried: on a machine that others use too, a slow example says nothing."""

from hypothesis import HealthCheck, settings

settings.register_profile("tombola", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tombola")
