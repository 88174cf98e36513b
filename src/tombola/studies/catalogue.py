"""All studies: importing this registers them."""

from importlib import import_module

from tombola.studies.base import studies as studies

for _name in ("frankle2019", "frankle2020", "zhang2019", "zhou2019"):
    try:
        import_module(f"tombola.studies.{_name}")
    except ImportError as _error:  # TEMPORARY: until every package has moved to the new form
        print("not migrated:", _name, _error)
