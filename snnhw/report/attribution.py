"""The answer of `snnhw why` as a page and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnhw.attribution.explanation import Explanation, measured
from snnhw.report.markdown import cell, section
from snnhw.report.numbers import percent
from snnhw.report.tables import Table

if TYPE_CHECKING:
    from snnhw.attribution.fixes import Fix


def tables(found: Explanation) -> list[Table]:
    """Causes, and what was tried against the first of them."""
    causes = tuple(
        (
            cause.swap.layer,
            cause.swap.kind,
            cause.swap.said,
            percent(cause.healed),
            percent(cause.harm.drift),
            str(cause.harm.flipped),
        )
        for cause, _ in found.causes
    )
    columns = ("layer", "parameter", "rounding", "harm gone", "drift", "decisions that differ")
    note = f"each unrounded alone, on {found.ranked.samples} samples; as it is: {measured(found.ranked)}"
    fixes = tuple((cause.swap.layer, cause.swap.kind, *_fix(fix)) for cause, fix in found.causes[: found.tried])
    said = f"compiled, on {found.apart.samples} samples kept apart; as it is: {measured(found.apart)}"
    titles = ("layer", "parameter", "fix", "harm gone", "agreement", "drift")
    return [Table("Causes", columns, causes, 3, note), Table("Fixes", titles, fixes, 3, said)]


def _fix(fix: Fix | None) -> tuple[str, ...]:
    if fix is None:
        return "no remedy on this target", "", "", ""
    return fix.said, percent(fix.healed), percent(fix.harm.agreement), percent(fix.harm.drift)


def title(found: Explanation) -> str:
    """Of the page."""
    return f"Why {found.source} differs on {found.target}"


def markdown(found: Explanation) -> str:
    """The answer, a section a table."""
    head = f"# {cell(title(found))}\n"
    lines = "".join(f"\n{cell(line)}\n" for line in found.lines)
    return "\n".join([head + lines, *map(section, tables(found))])


def html(found: Explanation) -> str:
    """One self-contained page."""
    from snnhw.extras import require

    require("report", "why --html")
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from snnhw.report.html import shipped

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(shipped("attribution.html.j2"))
    style = Markup(shipped("report.css"))
    return page.render(title=title(found), lines=found.lines, tables=tables(found), style=style)
