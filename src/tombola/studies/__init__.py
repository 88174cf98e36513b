"""One package a paper and one module an idea: tables of runs with measurements and claims.

What a file with a study of one's own needs is here, too: ``from tombola.studies import TicketStudy, study, ...``.
"""

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.evaluation.verdict import Effect
from tombola.procedures.imp import pruned_mask
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Action, Run
from tombola.studies.base import Row, Scale, Study, Values, study
from tombola.studies.claims import claim
from tombola.studies.dense import dense_run
from tombola.studies.evidence import DENSE, Evidence, aside, hardest
from tombola.studies.figure import Figure, Known, Panel
from tombola.studies.results import Details, Frame, Result, Results
from tombola.studies.setting import Setting
from tombola.studies.shown import picture
from tombola.studies.tickets import (
    ACC_ES,
    ACC_FINAL,
    ES,
    RUN_METRICS,
    TO_1P1,
    TO_1P5,
    TRAIN_ACC,
    Each,
    Level,
    Levels,
    Positive,
    PruningStudy,
    Several,
    Share,
    TicketStudy,
    chain_rows,
    randomly_masked,
    reinitialised,
    run_metrics,
    tickets,
)

__all__ = [
    "ACC_ES",
    "ACC_FINAL",
    "DENSE",
    "ES",
    "RUN_METRICS",
    "TO_1P1",
    "TO_1P5",
    "TRAIN_ACC",
    "Action",
    "Details",
    "Each",
    "Effect",
    "Evidence",
    "Figure",
    "Frame",
    "Known",
    "Level",
    "Levels",
    "Measurement",
    "Panel",
    "Positive",
    "PruningStudy",
    "Result",
    "Results",
    "Row",
    "Run",
    "Scale",
    "Setting",
    "Several",
    "Share",
    "Step",
    "Study",
    "Task",
    "TicketStudy",
    "TombolaError",
    "Values",
    "aside",
    "chain_rows",
    "claim",
    "dense_run",
    "hardest",
    "picture",
    "pruned_mask",
    "randomly_masked",
    "reinitialised",
    "run_metrics",
    "study",
    "tickets",
]
