"""All studies: importing this registers them, wherever a module of a package in this room defines some."""

from importlib import import_module
from pkgutil import walk_packages

from tombola import studies as room
from tombola.studies.base import studies as studies

for _module in walk_packages(room.__path__, f"{room.__name__}."):
    import_module(_module.name)
