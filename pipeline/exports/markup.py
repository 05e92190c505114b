"""XML documents, the same bytes for the same content."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Final
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

_INVALID: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")

Value = str | int | float


def element(parent: Element | None, tag: str, /, **attributes: Value) -> Element:
    """Add an element.

    Args:
        parent: what it goes into; None: it is the root.
        tag: its name.
        **attributes: numbers are written without an exponent.
    """
    written = {key: _written(value) for key, value in attributes.items()}
    return Element(tag, written) if parent is None else SubElement(parent, tag, written)


def text_element(parent: Element, tag: str, text: str, /, **attributes: Value) -> Element:
    """Add an element with text in it."""
    made = element(parent, tag, **attributes)
    made.text = _valid(text)
    return made


def document(root: Element, doctype: str | None = None) -> bytes:
    """Write a document, indented.

    Args:
        root: its root.
        doctype: name of the document type, for programs that look for one.
    """
    indent(root)
    out = BytesIO()
    ElementTree(root).write(out, encoding="UTF-8")
    kind = b"" if doctype is None else f"<!DOCTYPE {doctype}>\n".encode()
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + kind + out.getvalue() + b"\n"


def _written(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
    return _valid(str(value))


def _valid(text: str) -> str:
    """Text without what XML 1.0, section 2.2, does not allow."""
    return _INVALID.sub("\N{REPLACEMENT CHARACTER}", text)
