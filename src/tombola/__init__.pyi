"""What `tombola` offers: the one list, which type checkers and editors read, and `__init__.py` for what it loads when it is used."""

from tombola import objectives as objectives
from tombola.api.imp import imp as imp
from tombola.api.instability import instability as instability
from tombola.api.paths import path as path
from tombola.api.predict import predict as predict
from tombola.api.pruning import prune as prune
from tombola.api.pruning import score as score
from tombola.api.robustness import robustness as robustness
from tombola.api.run import run as run
from tombola.api.supermask import supermask as supermask
from tombola.api.to_torch import to_torch as to_torch
from tombola.api.train import train as train
from tombola.api.trajectory import Trajectory as Trajectory
from tombola.api.values import values as values
from tombola.core import masks as masks
from tombola.core.data_info import DataInfo as DataInfo
from tombola.core.errors import TombolaError as TombolaError
from tombola.core.errors import TombolaWarning as TombolaWarning
from tombola.core.parts import torch_rules as torch_rules
from tombola.core.step import Step as Step
from tombola.core.task import Data as Data
from tombola.core.task import Detect as Detect
from tombola.core.task import MaskSchedule as MaskSchedule
from tombola.core.task import Model as Model
from tombola.core.task import Recipe as Recipe
from tombola.core.task import Supermask as Supermask
from tombola.core.task import Task as Task
from tombola.data.arrays import from_arrays as from_arrays
from tombola.data.augment import augmentations as augmentations
from tombola.data.from_dataset import from_dataset as from_dataset
from tombola.data.from_files import from_file as from_file
from tombola.data.from_table import from_table as from_table
from tombola.models.custom import from_class as model
from tombola.models.initializers import initializers as initializers
from tombola.models.tasks import task as task
from tombola.models.tasks import tasks as tasks
from tombola.procedures.actions import mask_actions as mask_actions
from tombola.procedures.actions import value_actions as value_actions
from tombola.procedures.measurements import measurements as measurements
from tombola.procedures.run import Action as Action
from tombola.pruning.criteria import criteria as criteria
from tombola.pruning.pruning import Pruning as Pruning
from tombola.store.export import load_ticket as load_ticket
from tombola.store.store import Store as Store
from tombola.surgery.combine import combine as combine
from tombola.surgery.compact import compact_task as compact
from tombola.training.detectors import Detector as Detector
from tombola.training.detectors import detectors as detectors
from tombola.training.mask_schedules import MaskUpdates as MaskUpdates
from tombola.training.mask_schedules import mask_schedules as mask_schedules
from tombola.training.optimizers import optimizers as optimizers
from tombola.training.schedules import schedules as schedules

__version__: str
__all__ = ["compact", "model"]  # beside the names that are imported as themselves
