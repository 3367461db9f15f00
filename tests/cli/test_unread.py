"""Values that could not be used are told on stderr: twenty of them, and how many there are."""

from mmkit.cli.unread import tell_unread


def test_a_few_are_all_told(capsys):
    tell_unread([f"sample {i}, truth: why" for i in range(20)], "missing")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mmkit: 20 values could not be used and count as missing:"
    assert len(lines) == 21


def test_of_many_twenty_are_told_and_where_the_others_stand(capsys):
    tell_unread([f"sample {i:04}, truth: why" for i in range(5000)] * 2, "skip", "out/unread.parquet")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mmkit: 5,000 values could not be used and their samples are left out:"
    assert lines[20] == "  sample 0019, truth: why"
    assert lines[21:] == ["  ... and 4980 more, all in out/unread.parquet"]


def test_of_none_nothing_is_said(capsys):
    tell_unread([], "skip")
    assert capsys.readouterr().err == ""


def test_values_are_told_in_their_order(capsys):
    tell_unread([f"row {i}, weight: why" for i in (0, 1, 2, 10, 100)], "skip")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()[1:]] == ["0,", "1,", "2,", "10,", "100,"]
