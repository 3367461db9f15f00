"""Tables of ten encoders at four widths, on a real terminal and in a pipe: nothing is lost, nothing is broken."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from mmkit.records.record import Cost, Loading, Record, Speed
from mmkit.report.html import html_of
from mmkit.report.layout import laid_out
from mmkit.report.sheet import Sheet
from mmkit.report.summary import rows
from mmkit.report.tables import show, show_confusion

WIDTHS = (60, 80, 100, 120)
CLASSES = ["[/INST]", ":smile:", "猫", "قط كبير"]
WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, seed, score, encoders, classes):
    return Record(
        id="",
        task="pets",
        run={},
        status="ok",
        encoders=encoders,
        fusion=fusion,
        head="mlp",
        objectives=[],
        seed=seed,
        metric="accuracy",
        higher_is_better=True,
        metrics={"accuracy": score, "f1_macro": score - 0.01, "recall_macro": score + 0.01},
        validation={"accuracy": score + 0.02},
        names=classes,
        confusion=[[100 * row + column for column in range(len(classes))] for row in range(len(classes))],
        throughput=Speed(12345.0, 678.9, {"p50": 0.987}, 64, 32),
        loading=Loading(0.3, 0.123, 0),
        cost=Cost(163_000, 163_000, 6.08e6, [], 17 << 20),
        **WHERE,
    )


def suite(classes):
    models = [f"transformers-text:weights=/mnt/shared/models/text/encoder-{n}-uncased,pool=mean" for n in range(10)]
    made = [
        record(fusion, seed, 0.5 + number / 40 + seed / 500, {"[meta]": model, "图像": "cnn:width=32"}, classes)
        for fusion in ("concat", "attention:heads=8,layers=2,dropout=0.25")
        for number, model in enumerate(models)
        for seed in (0, 1)
    ]
    alone = [record("only:图像", seed, 0.4, {"图像": "cnn:width=32"}, classes) for seed in (0, 1)]
    return rows([*made, *alone, *(record("only:[meta]", 0, 0.3, {"[meta]": model}, classes) for model in models[:2])])


MANY = [f"class-{number}" for number in range(60)]


def printed(show_, found, width):
    stream = io.StringIO()
    console = Console(file=stream, width=width or 10_000, force_terminal=bool(width), color_system=None)
    show_(found, console)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_row_has_its_label_and_every_figure_whole(width):
    found = suite(CLASSES)
    lines = printed(show, found, width)
    assert max(map(cell_len, lines)) <= width
    tables = [line for line in lines if re.match(r"\d+  ", line)]
    numbers = [int(line.split()[0]) for line in tables]
    assert set(numbers) == set(range(1, len(found) + 1))
    for number, row in enumerate(found, start=1):
        mine = [line for line in tables if int(line.split()[0]) == number]
        label = row.fusion.split(":")[0]
        assert all(re.match(rf"{number} +{label}", line) for line in mine)
        figures = " ".join(mine)
        score = row.spread("accuracy")
        assert f"{100 * score.mean:.1f}" in figures
        for whole in ("12.3k", "679", "0.99", "12.3 %", "163k", "6.08M", "17.0 MiB"):
            assert figures.count(whole) == 1, (whole, figures)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_row_has_more_than_two_lines_and_models_can_be_told_apart(width):
    lines = printed(show, suite(CLASSES), width)
    start = next(number for number, line in enumerate(lines) if line.startswith("─"))
    table = lines[start + 1 : lines.index("", start)]
    heights = [0]
    for line in table:
        if re.match(r"\d+  ", line):
            heights.append(0)
        heights[-1] += 1
    assert max(heights) <= 2
    text = "".join(re.sub(r"\s", "", line) for line in table)
    if width >= 80:
        assert all(f"encoder-{number}-uncased" in " ".join(table) for number in range(10))
    assert all(f"encoder-{number}" in text for number in range(10))


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_the_legend_has_every_label_in_full(width):
    found = suite(CLASSES)
    text = "".join(re.sub(r"\s", "", line) for line in printed(show, found, width))
    for number, row in enumerate(found, start=1):
        label = row.fusion + (f"[meta]={row.encoders['[meta]']}" if "[meta]" in row.encoders else "")
        assert f"{number}{label}" in text


def test_in_a_pipe_each_row_is_one_line_with_all_its_figures():
    lines = printed(show, suite(CLASSES), None)
    header = next(line for line in lines if line.startswith("#"))
    assert header.split()[:2] == ["#", "fusion"]
    scores = [line for line in lines if re.match(r"\d+  .* ± ", line)]
    assert len(scores) == 21
    assert all(line.count(" ± ") == 4 for line in scores)
    assert "\x1b" not in "".join(lines)


def test_short_names_need_neither_numbers_nor_a_legend():
    found = [row for row in suite(CLASSES) if row.alone][:1]
    lines = printed(show, found, 80)
    assert not any(line.startswith("#") for line in lines)
    assert "only:图像" in "\n".join(lines)


@pytest.mark.parametrize("width", [*WIDTHS, None])
@pytest.mark.parametrize("classes", [CLASSES, MANY], ids=["scripts", "sixty"])
def test_every_count_of_a_confusion_matrix_can_be_found(width, classes):
    lines = printed(show_confusion, suite(classes), width)
    assert width is None or max(map(cell_len, lines)) <= width
    counted = {}
    columns = []
    for line in lines:
        if classes is MANY and re.match(r"#", line):
            columns = [int(text) for text in line.split()[1:]]
        if classes is MANY and (row := re.match(r"(\d+) +class-(\d+) ", line)):
            assert int(row[1]) == int(row[2]) + 1
            values = line[row.end() :].split()
            counted |= {(int(row[2]), column - 1): int(v) for column, v in zip(columns, values, strict=True)}
        if classes is CLASSES:
            for place, name in enumerate(classes):
                if line.startswith(name + " ") and line.split()[-1].isdigit():
                    counted |= {(place, column): int(v) for column, v in enumerate(line.split()[-4:])}
    # Over two seeds: twice what each record holds.
    size = len(classes)
    assert counted == {(row, column): 2 * (100 * row + column) for row in range(size) for column in range(size)}


def test_a_label_that_must_be_cut_says_so_and_keeps_its_end():
    sheet = Sheet("", ["name"], ["figure"], [["a-very-long-name-" * 6 + "end", "1.0"], ["short", "2.0"]])
    layout = laid_out(sheet, 40, numbered=True)
    ((header, body),) = layout.blocks
    assert layout.cut
    assert max(map(cell_len, [*header, *body])) <= 40
    assert "…" in "".join(body)
    assert "name-end" in "".join(body)
    assert not laid_out(sheet, None).cut


@pytest.mark.parametrize("width", range(1, 40))
def test_any_width_gives_a_table(width):
    sheet = Sheet("", ["name", "other"], ["a\nb", "c"], [["one", "猫", "1", "22"], ["two" * 9, "", "333", "4"]])
    text = "\n".join(line for header, body in laid_out(sheet, width).blocks for line in [*header, *body])
    for figure in ("1", "22", "333", "4"):
        assert figure in text.split()


def test_html_numbers_rows_and_has_the_legend():
    text = html_of(suite(CLASSES))
    assert text.count(">#</th>") == 2
    assert "weights=/mnt/shared/models/text/encoder-9-uncased,pool=mean</p>" in text


SHOWN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_layout import CLASSES, show, show_confusion, suite
from mmkit.cli.results import stdout
show(suite(CLASSES), stdout())
show_confusion(suite(CLASSES), stdout())
"""


@pytest.mark.parametrize("width", [min(WIDTHS), max(WIDTHS)])
def test_a_real_terminal_gets_the_same_lines(width):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, width))
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}} | {"TERM": "xterm"}
    command = [sys.executable, "-c", SHOWN, Path(__file__).parent]
    written = b""
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(master, 65536):
                written += piece
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode()).replace("\r\n", "\n")
    assert process.returncode == 0, text
    assert text.splitlines() == [*printed(show, suite(CLASSES), width), *printed(show_confusion, suite(CLASSES), width)]
