"""What the pages of all reports have: a document; head with verdict, facts and warnings; method; inputs."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any


def page(title: str, css: str, sections: Iterable[str]) -> str:
    """A whole document that loads nothing from anywhere; empty sections are left out."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n"
        f"<body><main>\n{chr(10).join(section for section in sections if section)}\n</main></body></html>\n"
    )


def page_head(kind: str, content: dict[str, Any], word: str, facts: Iterable[tuple[str, str]]) -> str:
    """The head as HTML.

    Args:
        kind: of report.
        content: with `name`, `created_at`, `verdict` (`decision`, `sentence`) and `warnings`.
        word: the decision, for people.
        facts: names and values, as plain text.
    """
    verdict = content["verdict"]
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    warnings = "".join(
        f'<li class="{warning["level"]}">{escape(warning["text"])}</li>' for warning in content["warnings"]
    )
    return (
        f"<h1>{escape(kind)} · {escape(content['name'])} · {escape(content['created_at'][:10])}</h1>"
        f'<section class="verdict {verdict["decision"]}"><b>{escape(word)}</b>'
        f"<p>{escape(verdict['sentence'])}</p></section>"
        f'<dl class="facts">{listed}</dl>' + (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
    )


def method_section(entries: Iterable[tuple[str, str]]) -> str:
    """Terms and what is meant by them, as plain text."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f'<h2>Method</h2><dl class="method">{listed}</dl>'


def inputs_section(rows: Iterable[tuple[str, str]]) -> str:
    """What the numbers follow from, as plain text."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><code>{escape(value)}</code></td></tr>'
        for name, value in rows
    )
    return f'<h2>Inputs</h2><table class="inputs"><tbody>{body}</tbody></table>'
