"""Puts labelled rows of pictures on a page: sizes, margins, type. Knows nothing of policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

MAX_WIDTH = 1600
_LABEL_WIDTH, _MARGIN, _GAP, _GROUP_GAP, _ROW_GAP = 300, 28, 6, 26, 12
_PAPER, _INK, _SOFT, _RULE, _EMPTY = "#ffffff", "#1c1c1e", "#63666b", "#d9dbde", "#f3f4f5"
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE = 24, 17, 14
#: Pictures are enlarged by a whole factor towards this side.
_WANTED_SIDE = 96


@dataclass(frozen=True)
class Group:
    """Columns that belong together: a heading, and a label per column."""

    heading: str
    labels: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A row: its name, small lines below the name, and pictures per group (`None`: empty)."""

    name: str
    lines: Sequence[str]
    blocks: Sequence[Sequence[Picture] | None]


@dataclass(frozen=True)
class _Grid:
    """Where columns stand and how large a cell is."""

    cell: tuple[int, int]
    lefts: list[list[int]]
    width: int


def draw_sheet(
    title: str, notes: Sequence[str], groups: Sequence[Group], rows: Sequence[Row]
) -> Image.Image:
    """Draws the page; every row has one block of pictures per group, all of one size."""
    first = rows[0].blocks[0]
    if not first:
        raise ValueError("the first row must have pictures")
    grid = _grid(first[0].shape[:2], groups)
    heads = _wrapped([title], _TITLE_SIZE, grid.width - 2 * _MARGIN)
    texts = _wrapped([n for n in notes if n], _TEXT_SIZE, grid.width - 2 * _MARGIN)
    labels = [_wrapped(row.lines, _SMALL_SIZE, _LABEL_WIDTH - 20) for row in rows]
    heights = [max(grid.cell[0], 26 + 19 * len(lines)) for lines in labels]
    top = _MARGIN + 34 * len(heads) + 24 * len(texts) + 18
    body = top + 48
    page_height = body + sum(heights) + _ROW_GAP * len(rows) + _MARGIN
    page = Image.new("RGB", (grid.width, page_height), _PAPER)
    pen = ImageDraw.Draw(page)
    for i, line in enumerate(heads):
        pen.text((_MARGIN, _MARGIN + 34 * i), line, _INK, _font(_TITLE_SIZE))
    for i, line in enumerate(texts):
        place = (_MARGIN, _MARGIN + 34 * len(heads) + 24 * i)
        pen.text(place, line, _SOFT, _font(_TEXT_SIZE))
    _draw_headings(pen, groups, grid, top)
    y = body
    for row, lines, height in zip(rows, labels, heights, strict=True):
        _draw_row(page, pen, row, lines, grid, y, height)
        y += height + _ROW_GAP
    return page


def _grid(shape: tuple[int, ...], groups: Sequence[Group]) -> _Grid:
    n_columns = sum(len(group.labels) for group in groups)
    gaps = _GAP * (n_columns - len(groups)) + _GROUP_GAP * (len(groups) - 1)
    room = MAX_WIDTH - 2 * _MARGIN - _LABEL_WIDTH - gaps
    factor = min(room / n_columns, _WANTED_SIDE) / max(shape)
    if factor >= 1:
        factor = float(int(factor)) if max(shape) > 32 else float(round(factor))
    cell = (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))
    lefts, x = [], _MARGIN + _LABEL_WIDTH
    for group in groups:
        lefts.append([x + i * (cell[1] + _GAP) for i in range(len(group.labels))])
        x = lefts[-1][-1] + cell[1] + _GROUP_GAP
    return _Grid(cell, lefts, max(x - _GROUP_GAP + _MARGIN, 720))


def _draw_headings(
    pen: ImageDraw.ImageDraw, groups: Sequence[Group], grid: _Grid, top: int
) -> None:
    font, small = _font(_TEXT_SIZE), _font(_SMALL_SIZE)
    for group, lefts in zip(groups, grid.lefts, strict=True):
        right = lefts[-1] + grid.cell[1]
        pen.text((lefts[0], top - 4), group.heading, _INK, font)
        for left, label in zip(lefts, group.labels, strict=True):
            text = _shortened(label, small, grid.cell[1])
            pen.text((left + grid.cell[1] / 2, top + 21), text, _SOFT, small, anchor="ma")
        pen.line((lefts[0], top + 41, right, top + 41), _RULE)


def _draw_row(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    row: Row,
    lines: Sequence[str],
    grid: _Grid,
    y: int,
    height: int,
) -> None:
    text_height = 24 + 19 * len(lines)
    text_top = y + max(0, (min(height, grid.cell[0]) - text_height) // 2)
    font = _font(_TEXT_SIZE)
    pen.text((_MARGIN, text_top), _shortened(row.name, font, _LABEL_WIDTH - 20), _INK, font)
    for i, line in enumerate(lines):
        pen.text((_MARGIN, text_top + 25 + 19 * i), line, _SOFT, _font(_SMALL_SIZE))
    size = (grid.cell[1], grid.cell[0])
    for lefts, block in zip(grid.lefts, row.blocks, strict=True):
        if block is None:
            continue
        for left, picture in zip(lefts, block, strict=True):
            is_larger = size[0] >= picture.shape[1]
            how = Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX
            page.paste(Image.fromarray(picture).resize(size, how), (left, y))
            pen.rectangle((left - 1, y - 1, left + size[0], y + size[1]), outline=_RULE)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _shortened(text: str, font: Any, room: float) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text[:200])
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text.rstrip() + "..."


def _wrapped(lines: Sequence[str], size: int, room: float) -> list[str]:
    """Lines broken between words so that each fits the room."""
    font, result = _font(size), []
    for line in lines:
        current = ""
        for word in line.split(" "):
            longer = f"{current} {word}" if current else word
            if current and font.getlength(longer) > room:
                result.append(_shortened(current, font, room))
                current = word
            else:
                current = longer
        result.append(_shortened(current, font, room))
    return result
