"""Spreadsheets are read as their cells are, and a workbook of several sheets is asked for one."""

import datetime as dt
import zipfile
from xml.sax.saxutils import escape

import pytest

import mmkit
from mmkit.errors import DataError, UnavailableError
from mmkit.sources.reading import read, stamp
from mmkit.sources.sheets import read_sheet, sheet_in

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def _cell(value):
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, dt.date):
        return f'<c s="1"><v>{(value - dt.date(1899, 12, 30)).days}</v></c>'
    if isinstance(value, int | float):
        return f"<c><v>{value}</v></c>"
    return (
        f'<c t="e"><v>{value}</v></c>' if value[:1] == "#" else f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    )


def workbook(path, sheets):
    """Write a workbook as Office Open XML; its cells are None, bools, dates, numbers, errors and strings."""
    names = list(sheets)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/s{place}.xml" ContentType="{KIND}.worksheet+xml"/>'
        for place in range(len(names))
    )
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{place + 1}" r:id="r{place}"/>' for place, name in enumerate(names)
    )
    links = "".join(
        f'<Relationship Id="r{place}" Type="{OFFICE}/worksheet" Target="worksheets/s{place}.xml"/>'
        for place in range(len(names))
    )
    files = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{KIND}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{KIND}.styles+xml"/>{overrides}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" '
        f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{links}<Relationship Id="s" '
        f'Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/>'
        "</cellXfs></styleSheet>",
    }
    for place, rows in enumerate(sheets.values()):
        lines = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        files[f"xl/worksheets/s{place}.xml"] = f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, f"{HEAD}{text}")
    return path


HOMES = [
    ["size", " colour ", None, "built", "sold", "code"],
    [70.5, "red & tan", "?", dt.date(1999, 12, 31), True, "007"],
    [None, None, None, dt.date(2024, 2, 29), False, "010"],
    [88, "grey", None, None, None, 12],
]


def test_cells_are_what_they_are_in_the_sheet(tmp_path):
    table = read_sheet(workbook(tmp_path / "homes.xlsx", {"Homes": HOMES, "Notes": [], "Heads": [["a", "b"]]}))
    assert table.column_names == ["size", "colour", "column_3", "built", "sold", "code"]
    assert [list(row.values()) for row in table.to_pylist()] == [
        [70.5, "red & tan", "?", dt.datetime(1999, 12, 31), True, "007"],
        [None, None, None, dt.datetime(2024, 2, 29), False, "010"],
        [88, "grey", None, None, None, "12"],
    ]


def test_a_late_cell_of_another_type_is_not_lost(tmp_path):
    rows = [["n"], *([number] for number in range(1500)), ["about 7"], ["#DIV/0!"]]
    column = read_sheet(workbook(tmp_path / "n.xlsx", {"n": rows})).column("n")
    assert column[1500].as_py() == "about 7"
    assert column[3].as_py() == "3"
    assert column[1501].as_py() is None


def test_empty_lines_at_the_end_are_no_rows(tmp_path):
    path = workbook(
        tmp_path / "n.xlsx", {"n": [["a", "b"], [1, "x"], [None, None], [2, "y"], [None, " "], [None, None]]}
    )
    assert read_sheet(path).column("a").to_pylist() == [1, None, 2]


def test_one_of_several_sheets_is_named(tmp_path):
    path = workbook(tmp_path / "sales.xlsx", {"May": [["a"], [1]], "June #2": [["a"], [2], [3]]})
    with pytest.raises(
        DataError, match=r"has several sheets with rows, 'May', 'June #2'; name one, as in '.*xlsx#May'"
    ):
        read(str(path), {})
    assert read(f"{path}#May", {}).columns["a"].to_pylist() == [1]
    source = read(f"{path}#May", {})
    assert (source.rows, source.folder) == (1, tmp_path)
    with pytest.raises(DataError, match=r"sales\.xlsx has no sheet 'July'; it has 'May', 'June #2'"):
        read(f"{path}#July", {})
    assert read(f"{path}#June #2", {}).columns["a"].to_pylist() == [2, 3]
    assert stamp(f"{path}#May") == stamp(str(path)) != ()


def test_what_names_no_sheet_is_a_file(tmp_path):
    path = workbook(tmp_path / "a#b.xlsx", {"s": [["a"], [1]]})
    assert sheet_in(str(path)) is None
    assert sheet_in(f"{path}#s") == (path, "s")
    assert sheet_in(f"{tmp_path}/none.xlsx#s") is sheet_in("a.csv#s") is sheet_in(f"{'x' * 5000}.xlsx#s") is None
    with pytest.raises(DataError, match=r"there is no file or folder 'none\.xlsx#s'"):
        read("none.xlsx#s", {})
    assert read(str(path), {}).rows == 1


def test_a_file_that_is_no_workbook_is_one_error(tmp_path):
    path = tmp_path / "homes.ods"
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"homes\.ods cannot be read as ods: "):
        read(str(path), {})


def test_without_the_library_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fastexcel", None)
    with pytest.raises(UnavailableError, match=r'pip install "mmkit-core\[excel\]"; or save its sheet as CSV'):
        read_sheet(tmp_path / "homes.xlsx")


def test_a_model_is_trained_on_a_sheet_and_answers_another(tmp_path):
    rows = [
        [f"{'large' if number % 2 else 'small'} house", number % 2 * 50.0 + number / 100, number % 2]
        for number in range(60)
    ]
    head = ["note", "size", "sold"]
    path = workbook(tmp_path / "homes.xlsx", {"Old": [head, *rows], "New": [head[:2], *(row[:2] for row in rows[:7])]})
    description = mmkit.inspect(f"{path}#Old", target="sold")
    assert description.target.kind == "classes"
    model, _ = mmkit.fit(
        data=f"{path}#Old", target="sold", fusion="concat", training={"epochs": 3, "min_steps": 0}, progress=False
    )
    (answers,) = model.answers(f"{path}#New")
    assert len(answers) == 7
    assert set(answers["label"].to_pylist()) <= {"0", "1"}
