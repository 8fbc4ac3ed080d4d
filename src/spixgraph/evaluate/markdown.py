"""The report as Markdown, for the console and for the benchmark pages."""

import re

from spixgraph.evaluate.report import Report
from spixgraph.evaluate.tables import (
    Table,
    budget_table,
    calibration_table,
    ceiling_table,
    model_table,
    selection_sentence,
)


def report_markdown(report: Report) -> str:
    """Write the main table, the ceiling and the selection as GitHub Markdown.

    Parameters
    ----------
    report : dict
        From `build_report`, or read back from its JSON.

    Returns
    -------
    str
        Ends with a line feed; names are escaped.
    """
    head = f"**{_plain(report['dataset'])}**, {_plain(report['split'])} split, "
    parts = [head + f"{report['images']['n']} images", markdown_table(model_table(report))]
    if report["ceiling"]:
        parts.append(markdown_table(ceiling_table(report)))
    if (budget := budget_table(report)).rows:
        parts.append(markdown_table(budget))
    if (calibration := calibration_table(report)).rows:
        parts.append(markdown_table(calibration))
    parts.append(_plain(selection_sentence(report)))
    parts.extend(f"- {_plain(note)}" for note in report["notes"])
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Write one table, names to the left and figures to the right."""
    rule = ("---", *["---:"] * (len(table.head) - 1))
    rows = [" | ".join(map(_plain, row)) for row in (table.head, rule, *table.rows)]
    return f"{_plain(table.caption)}\n\n" + "\n".join(f"| {row} |" for row in rows)


def _plain(text: str) -> str:
    """Escape what Markdown or the HTML in it would read as markup, and keep to one line."""
    return re.sub(r"([\\`*|<\[\]])", r"\\\1", " ".join(text.split()))
