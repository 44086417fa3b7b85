"""How a Markdown file is cut into passages."""

from __future__ import annotations

from mainstay.parts.parsing.markdown import sections


def test_comments_are_not_part_of_a_passage():
    """An editor's note must not be found, nor quoted to a customer; one that is shown as code is text like any other."""
    text = "# A\n\nOpen <!-- not\ntrue any more --> daily.\n\n```html\n<!-- shown -->\n```\n\nWrite `<!-- like this -->`.\n"
    (section,) = sections(text)
    assert "not" not in section.text and "true" not in section.text
    assert "<!-- shown -->" in section.text and "<!-- like this -->" in section.text
    assert text[section.start : section.end].strip().startswith("Open") and text[: section.end] == text


def test_names_in_headings_keep_their_underscores():
    """`no_evidence` in a heading is a word that is searched for and linked to; `_so_` is only printed in italics."""
    (section,) = sections("# The reason `no_evidence` and _so_ on\n\nText.\n")
    assert section.heading == ("The reason no_evidence and so on",)
    assert section.anchor == "the-reason-no_evidence-and-so-on"
