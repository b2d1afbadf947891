"""What a figure is, and how the figures of one run are told beside the machine's floor."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of what a figure measures: the samples of how long after the beginning it was reached."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: its samples, what they are held against, and where their time went.

    `floor` names the figure of the bare machine that the median is divided by. With `at_least` more is better.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    target: float | None = None
    at_least: bool = False
    floor: str | None = None
    stages: tuple[Stage, ...] = ()
    note: str = ""

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.values) if self.values else math.nan

    @property
    def p95(self) -> float:
        """The sample that one in twenty is worse than."""
        ordered = sorted(self.values, reverse=self.at_least)
        return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)] if ordered else math.nan

    @property
    def verdict(self) -> str:
        """Say whether the median meets the target."""
        if not self.values:
            return "not measured"
        if self.target is None:
            return ""
        is_met = self.median >= self.target if self.at_least else self.median <= self.target
        return "met" if is_met else "MISSED"


@dataclass
class Samples:
    """Samples of one figure and of its stages while they are being taken."""

    values: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def add(self, value: float, stages: Mapping[str, float] | None = None) -> None:
        """Take one sample, with the moments of its stages in the order that they happened."""
        self.values.append(value)
        for name, moment in (stages or {}).items():
            self.stages.setdefault(name, []).append(moment)

    def figure(self, name: str, unit: str, **more: object) -> Figure:
        """Give the figure of what was taken."""
        stages = tuple(Stage(name=one, values=tuple(moments)) for one, moments in self.stages.items())
        return Figure(name=name, unit=unit, values=tuple(self.values), stages=stages, **more)


def repeat(count: int, action: Callable[[], float], warm_up: int = 1) -> list[float]:
    """Give what `action` returns, `count` times, after some calls that do not count."""
    for _ in range(warm_up):
        action()
    return [action() for _ in range(count)]


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Give a function that tells the milliseconds since here."""
    began = time.monotonic()
    yield lambda: 1e3 * (time.monotonic() - began)


# How it is told

_HEAD = ("figure", "n", "median", "p95", "target", "x floor", "verdict")


def table(figures: Sequence[Figure]) -> str:
    """Give one line per figure, in columns."""
    medians = {figure.name: figure for figure in figures}
    rows = [_HEAD, *(_row(figure, medians.get(figure.floor or "")) for figure in figures)]
    return "\n".join(_aligned(rows))


def stages(figures: Iterable[Figure]) -> str:
    """Give the stages of every figure that has some: when each was reached, and how long it took."""
    parts = []
    for figure in figures:
        if not figure.stages:
            continue
        rows = [("stage", "reached", "p95", "took"), *_stage_rows(figure)]
        parts.append("\n".join([f"{figure.name} ({figure.unit}, medians)", *_aligned(rows)]))
    return "\n\n".join(parts)


def as_data(figures: Sequence[Figure]) -> list[dict[str, object]]:
    """Give the figures for JSON, with every sample."""
    told = [{"median": figure.median, "p95": figure.p95, "verdict": figure.verdict} for figure in figures]
    return [asdict(figure) | more for figure, more in zip(figures, told, strict=True)]


def _row(figure: Figure, floor: Figure | None) -> tuple[str, ...]:
    sign = "≥" if figure.at_least else "≤"
    target = "" if figure.target is None else f"{sign} {_number(figure.target)} {figure.unit}"
    median, p95 = (f"{_number(value)} {figure.unit}" for value in (figure.median, figure.p95))
    ratio = "" if floor is None or not floor.values else _ratio(figure, floor)
    return (figure.name, str(len(figure.values)), median, p95, target, ratio, figure.verdict)


def _ratio(figure: Figure, floor: Figure) -> str:
    scale = _IN_SECONDS.get(figure.unit, 1.0) / _IN_SECONDS.get(floor.unit, 1.0)
    return _number(figure.median * scale / floor.median)


_IN_SECONDS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}


def _stage_rows(figure: Figure) -> Iterator[tuple[str, ...]]:
    before = 0.0
    for stage in figure.stages:
        whole = Figure(name=stage.name, unit=figure.unit, values=stage.values)
        yield (f"  {stage.name}", _number(whole.median), _number(whole.p95), _number(whole.median - before))
        before = whole.median


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in (0, len(row) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
