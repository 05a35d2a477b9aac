"""Line charts as SVG, one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP = 640, 200, 60, 30
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines by name, with zero at the bottom."""

    title: str
    lines: Mapping[str, Points]
    x_unit: str

    def draw(self, top: int) -> str:
        points = [point for line in self.lines.values() for point in line]
        x_max = max(x for x, _ in points) or 1
        y_max = max(y for _, y in points) * 1.1 or 1
        bottom, right = top + HEIGHT, LEFT + WIDTH
        parts = [
            f'<text x="{LEFT}" y="{top - 8}">{escape(self.title)}</text>',
            f'<path d="M{LEFT} {top}V{bottom}H{right}" stroke="#888" fill="none"/>',
            f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{x_max:.0f} {self.x_unit}'
            "</text>",
        ]
        for share in (0, 0.5, 1):
            y = bottom - share * HEIGHT
            parts.append(
                f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{share * y_max:.0f}</text>'
            )
        for index, (name, line) in enumerate(self.lines.items()):
            color = COLORS[index % len(COLORS)]
            path = " ".join(
                f"{LEFT + x / x_max * WIDTH:.1f},{bottom - y / y_max * HEIGHT:.1f}" for x, y in line
            )
            parts.append(f'<polyline points="{path}" stroke="{color}" fill="none"/>')
            parts.append(
                f'<text x="{right - 4}" y="{bottom - 10 - 16 * index}" fill="{color}"'
                f' text-anchor="end">{escape(name)}</text>'
            )
        return "\n".join(parts)


def draw_charts(charts: Sequence[Chart]) -> str:
    """Return an SVG document of the charts."""
    height = len(charts) * (HEIGHT + 60)
    drawn = "\n".join(chart.draw(TOP + place * (HEIGHT + 60)) for place, chart in enumerate(charts))
    size = f'width="{LEFT + WIDTH + 20}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{drawn}\n</svg>\n'
    )
