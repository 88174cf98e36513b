"""All studies: importing this registers them."""

from tombola.studies import attacks as attacks
from tombola.studies import autoencoders as autoencoders
from tombola.studies import finding as finding
from tombola.studies import frankle2019 as frankle2019
from tombola.studies import frankle2020 as frankle2020
from tombola.studies import initial as initial
from tombola.studies import moving as moving
from tombola.studies import phases as phases
from tombola.studies import search as search
from tombola.studies import transplant as transplant
from tombola.studies import words as words
from tombola.studies import zhang2019 as zhang2019
from tombola.studies import zhou2019 as zhou2019
from tombola.studies.base import studies as studies
