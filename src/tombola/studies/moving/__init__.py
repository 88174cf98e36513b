"""Masks that move during training, and the journeys of weights."""

from tombola.studies.moving import comebacks as comebacks
from tombola.studies.moving import decisions as decisions
from tombola.studies.moving import journeys as journeys
from tombola.studies.moving import schedules as schedules
