"""A bar chart as SVG: text and rectangles, readable in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

ROW, LEFT, WIDTH = 26, 220, 760
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600}rect{fill:#7a8ba3}.own{fill:#0b7a5d}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#5b6b82}.own{fill:#2fb892}}"
)


def bars(title: str, values: Mapping[str, float], *, own: str = "Mainstay") -> str:
    """One bar a value, the smallest first, lengths on a logarithmic scale; those whose name begins with `own` stand out."""
    ordered = sorted(values.items(), key=lambda pair: pair[1])
    least, most = math.log10(ordered[0][1]) - 0.3, math.log10(ordered[-1][1])
    height = ROW * (len(ordered) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="t" x="10" y="20">{escape(title)}</text>',
    ]
    for row, (name, value) in enumerate(ordered, 1):
        y, length = ROW * row + 12, (math.log10(value) - least) / (most - least or 1) * (WIDTH - LEFT - 80)
        kind = ' class="own"' if name.startswith(own) else ""
        lines.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect{kind} x="{LEFT}" y="{y}" width="{length:.1f}" height="16" rx="2"/>')
        lines.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{value:.3g}</text>')
    return "\n".join([*lines, "</svg>", ""])
