"""A figure's SVG made fit to stand in a page beside others."""

import colorsys
import re
from xml.etree import ElementTree

_COLOUR = re.compile(r"#([0-9a-f]{6})\b")
_XLINK = "{http://www.w3.org/1999/xlink}href"


def inline_svg(svg: bytes, prefix: str, label: str) -> str:
    """The SVG as an HTML element: ids under `prefix`, no background, no styles that reach the rest of the page, and
    every colour a custom property (``--c0072b2``), which a dark page may set.

    matplotlib numbers its clip paths and markers alike in every figure; in one page the first would serve them all.
    The natural width in points is the custom property ``--width``.
    """
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in list(parent):
            if _name(child) in ("metadata", "style"):
                parent.remove(child)
    background = root.find(".//*[@id='figure_1']/*[@id='patch_1']/*")
    if background is not None:
        background.set("style", "fill: none")
    for element in root.iter():
        element.tag = _name(element)
        element.attrib = {_plain(name): _own(name, value, prefix) for name, value in element.attrib.items()}
    width = root.attrib.pop("width").removesuffix("pt")
    del root.attrib["height"]
    # What matplotlib says in a style sheet for "*", which would reach the whole page.
    root.set("style", f"--width: {width}; stroke-linejoin: round; stroke-linecap: butt")
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def _plain(attribute: str) -> str:
    return "href" if attribute == _XLINK else attribute


def _own(attribute: str, value: str, prefix: str) -> str:
    if attribute == "id":
        return f"{prefix}-{value}"
    if attribute in ("href", _XLINK) and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    own = value.replace("url(#", f"url(#{prefix}-")
    return _COLOUR.sub(r"var(--c\1, #\1)", own) if attribute == "style" else own


def dark_colours(html: str) -> str:
    """CSS declarations of the custom properties in some HTML, for a dark page."""
    return " ".join(f"--c{colour}: {on_dark(colour)};" for colour in sorted(set(re.findall(r"var\(--c([0-9a-f]{6}),", html))))


def on_dark(colour: str) -> str:
    """A colour for a dark ground, both as six hex digits: greys are turned over, other colours made light enough.

    >>> on_dark("ffffff"), on_dark("e69f00"), on_dark("0072b2")
    ('#141414', '#ffc033', '#33b6ff')
    """
    red, green, blue = (int(colour[index : index + 2], 16) / 255 for index in (0, 2, 4))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    light = 1 - 0.92 * light if saturation < 0.1 else max(0.6, light)
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, light, saturation))
