"""The site, by Sphinx: `make docs`."""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pages  # noqa: E402  # beside this file

import tombola  # noqa: E402

project, author, copyright = "Tombola", "The Tombola authors", "The Tombola authors"
release = tombola.__version__
extensions = ["myst_nb"]
exclude_patterns = ["_build", "**/.*"]
html_theme, html_title = "furo", "Tombola"
html_static_path, html_css_files = ["static"], ["site.css"]
html_show_sphinx = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # two classes are called Attacked: the objective, and what `tb.attack` returns
nb_execution_mode, nb_execution_timeout, nb_execution_in_temp = "cache", 600, True
nb_execution_raise_on_error = True
nb_merge_streams = True


def write_pages(app: Any) -> None:
    """The pages that are made from the code; one that stays the same is not written again, and what is no more, is taken away."""
    folder, found = HERE / "_made", pages.made()
    for path in folder.rglob("*.md") if folder.exists() else ():
        if path.relative_to(folder).with_suffix("").as_posix() not in found:
            path.unlink()
    for name, text in found.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def math(writer: Any, node: Any) -> None:
    """Formulas as MathML, which browsers draw themselves: nothing is loaded from elsewhere."""
    writer.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def drop_empty(app: Any, tree: nodes.document, page: str) -> None:
    """Where a long call said how far it was, nothing is left when it is done."""
    for node in list(tree.findall(nodes.literal_block)):
        if "text_plain" in node["classes"] and not node.astext().strip():
            node.parent.remove(node)


def check_offline(app: Any, error: Exception | None) -> None:
    """No page loads anything from elsewhere."""
    if error is None and app.builder.name == "html":
        for path in Path(app.outdir).rglob("*.html"):
            text = path.read_text(encoding="utf-8")
            if found := re.search(
                r"<(?:script|img|iframe)[^>]*\bsrc=\"(?:https?:)?//[^\"]*|<link[^>]*stylesheet[^>]*\bhref=\"(?:https?:)?//[^\"]*", text
            ):
                raise RuntimeError(f"{path} loads from elsewhere: {found[0]}")


def setup(app: Any) -> None:
    """What Sphinx is told."""
    app.add_html_math_renderer("mathml", (math, None), (math, None))
    app.connect("builder-inited", write_pages)
    app.connect("doctree-resolved", drop_empty)
    app.connect("build-finished", check_offline)
