"""How cheaply can a ticket be found? Costs, sanity checks, fewer data, other scores."""

from tombola.studies.finding import cost as cost
from tombola.studies.finding import data as data
from tombola.studies.finding import early_bird as early_bird
from tombola.studies.finding import sanity as sanity
from tombola.studies.finding import scores as scores
