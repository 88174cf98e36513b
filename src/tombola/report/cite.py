"""What to cite: the papers whose sentences a study judges, and Tombola, as BibTeX."""

import re
from pathlib import Path

from tombola import __version__
from tombola.studies.base import Study

_TOMBOLA = f"""@misc{{tombola,
  author = {{{{The Tombola authors}}}},
  title = {{Tombola: a workbench for the science of lottery tickets}},
  year = {{2026}},
  note = {{Version {__version__}}}
}}
"""
_NAMED = re.compile(r"[A-Z][\w-]+(?: et al\.| & [A-Z][\w-]+)? (?:19|20)\d\d")
"""How papers are named: "Frankle & Carbin 2019", "Zhou et al. 2019"."""


def bibtex(*kinds: type[Study]) -> str:
    """The entries of the papers that some studies judge, each once, then that of Tombola; a paper without an entry here is a comment."""
    _, *parts = re.split(r"^% (.+)\n", (Path(__file__).parent / "papers.bib").read_text(encoding="utf-8"), flags=re.MULTILINE)
    known = dict(zip(parts[::2], parts[1::2], strict=True))
    texts = [text for kind in kinds for text in (kind.paper, *(claim.where for claim in kind.claims_of_class()))]
    named = dict.fromkeys(name for text in texts if isinstance(text, str) for name in _NAMED.findall(text))
    return "\n".join([*(known.get(name, f"% {name}: no entry is known here\n") for name in named), _TOMBOLA])
