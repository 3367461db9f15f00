"""The tables of the scenarios have the structure that their pages tell: what each input can know is counted here."""

import collections
import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

FOLDER = Path(__file__).parent.parent / "benchmarks" / "scenarios"


def made(name, folder, *given):
    """The script of a scenario, after it made its table of what is given; and the rows of that."""
    spec = importlib.util.spec_from_file_location(f"make_{name}", FOLDER / name / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(folder, *given)
    (table,) = [path for path in folder.iterdir() if path.is_file()]
    text = table.read_text("utf-8")
    rows = (
        [json.loads(line) for line in text.splitlines()]
        if table.suffix == ".jsonl"
        else csv.DictReader(text.splitlines())
    )
    return module, list(rows)


def known(keys, truth):
    """How often the most frequent truth of each key is right: the best that can be known by the keys alone."""
    counts = collections.defaultdict(collections.Counter)
    for key, value in zip(keys, truth, strict=True):
        counts[key][value] += 1
    return sum(max(of.values()) for of in counts.values()) / len(truth)


def read(path):
    """Sound [T] and pictures [F H W 3] of a clip."""
    import av

    with av.open(str(path)) as file:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        file.seek(0)
        wave = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    return wave, pictures


def test_posts_say_it_in_the_text_in_seven_of_ten(tmp_path):
    module, rows = made("sentiment", tmp_path)
    said = {
        pattern.format(topic): feeling
        for feeling in ("likes", "dislikes")
        for language in (0, 1)
        for pattern in module.SAID[feeling][language]
        for topic in (list(module.TOPICS) if language == 0 else module.TOPICS.values())
    }
    told = [said.get(row["text"]) for row in rows]
    assert all(one in (None, row["feeling"]) for one, row in zip(told, rows, strict=True))
    assert np.mean([one is not None for one in told]) == pytest.approx(0.7, abs=0.04)
    # Where the text does not tell, the image does; where there is none, the text tells.
    assert all(one is not None or row["image"] for one, row in zip(told, rows, strict=True))
    page = (FOLDER / "sentiment" / "README.md").read_text("utf-8")
    for word in ("图片", "天安门", "picture"):
        assert word in page
        assert not [row for row in rows if word in row["text"]]


def test_questions_alone_tell_little(tmp_path):
    _, rows = made("questions", tmp_path)
    answers = [row["answer"] for row in rows]
    assert len(set(answers)) == 15
    assert known([row["question"] for row in rows], answers) == pytest.approx(0.3, abs=0.02)
    assert known([(row["picture"], row["question"]) for row in rows], answers) == 1


@pytest.mark.full
def test_drawings_are_those_of_the_collection(tmp_path):
    _, rows = made("catalogue", tmp_path)
    page = (FOLDER / "catalogue" / "README.md").read_text("utf-8")
    authors = len({row["author"] for row in rows} - {""})
    sections = len({row["section"] for row in rows})
    for told in (f"{len(rows):,} drawings", f"by {authors} authors", f"one of {sections},"):
        assert told in page
    assert all((tmp_path / row["image"]).is_file() for row in rows)


def test_packages_are_taken_by_their_source(tmp_path):
    listed = tmp_path / "available.txt"
    listed.write_text(
        "\n\n".join(
            f"Package: p{number}-{part}\nSource: s{number} (1.0)\nSection: {section}\nSize: {number + 1}\n"
            f"Depends: libc6 (>= 2), perl | sh\nDescription: tool {number}"
            for number in range(600)
            for part, section in enumerate(("net", "games", "libs"))
        ),
        "utf-8",
    )
    _, rows = made("packages", tmp_path / "packages", listed)
    sources = collections.Counter(row["source"] for row in rows)
    assert set(sources.values()) == {2}  # all of a source, or none; libs is none of the 16 sections
    assert len(sources) == pytest.approx(100, abs=30)
    assert {row["section"] for row in rows} == {"net", "games"}
    assert {(row["n_depends"], row["needs_libc6"], row["needs_libqt"]) for row in rows} == {("2", "True", "False")}
    assert all(row["description"] == f"tool {int(row['size'].split('.')[0]) - 1}" for row in rows)


def test_machines_need_both(tmp_path):
    module, rows = made("triage", tmp_path)
    truth = [row["to_do"] for row in rows]
    said = {words: load for load, several in module.SAID.items() for words in several}
    loads = [next(load for words, load in said.items() if words in row["note"]) for row in rows]
    runs = [list(module.TO_DO)[place % len(module.TO_DO)][0] for place in range(len(rows))]
    assert known(loads, truth) == pytest.approx(1 / 2)
    assert known(runs, truth) == pytest.approx(2 / 3)
    assert known(zip(runs, loads, strict=True), truth) == 1
    assert known([(row["hall"], row["shift"]) for row in rows], truth) < 0.4


def test_a_history_or_an_item_alone_tell_nothing(tmp_path):
    module, rows = made("recommendation", tmp_path)
    truth = [row["buys"] for row in rows]
    tastes = [
        collections.Counter(word for word in row["history"].split() if word in module.COLOURS).most_common(1)[0][0]
        for row in rows
    ]
    wanted = [place % 2 == 0 for place in range(len(rows))]
    assert known(tastes, truth) < 0.56
    assert known([row["city"] for row in rows], truth) < 0.56
    assert known(wanted, truth) == pytest.approx(0.95, abs=0.02)


@pytest.mark.full
def test_clips_need_both(tmp_path):
    pytest.importorskip("av")
    _, rows = made("events", tmp_path)
    truth, opens, knocks = [row["event"] for row in rows], [], []
    for row in rows:
        wave, pictures = read(tmp_path / row["heard"])
        dark = (pictures.min(-1) < 100).mean((1, 2))
        opens.append(bool(dark[-1] > dark[0]))
        knocks.append(bool((abs(wave) > 0.1).mean() < 0.25))  # a buzzer is as loud for half of the time
    assert known(opens, truth) == pytest.approx(1 / 2)
    assert known(knocks, truth) == pytest.approx(1 / 2)
    assert known(zip(opens, knocks, strict=True), truth) == 1


def test_machines_are_in_a_state_that_both_tell(tmp_path):
    av = pytest.importorskip("av")
    module, rows = made("monitoring", tmp_path)

    def seen_and_heard(path):
        with av.open(str(path.with_suffix(".avi"))) as file:
            pictures = np.stack([frame.to_ndarray(format="gray") for frame in file.decode(video=0)]).astype(float)
        wave, rate = soundfile.read(path.with_suffix(".wav"))
        seconds = len(wave) / rate
        assert len(pictures) == seconds * module.FRAMES
        return bool(abs(np.diff(pictures, axis=0)).mean() > 15), bool(wave.std() > 0.05)

    both = [seen_and_heard(tmp_path / row["seen"]) for row in rows]
    truth = [row["state"] for row in rows]
    assert known([one[0] for one in both], truth) == pytest.approx(1 / 2)
    assert known([one[1] for one in both], truth) == pytest.approx(1 / 2)
    assert known(both, truth) == 1
    with (tmp_path / "watch" / "truth.csv").open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert len(states) == module.LONG / module.CHUNK
    assert known([seen_and_heard(tmp_path / "watch" / f"{n:03}") for n in range(len(states))], states) > 0.9


def test_findings_need_both(tmp_path):
    _, rows = made("scans", tmp_path)
    for row in rows:
        assert ("urgent" in row["findings"]) == ({"shadow", "fever"} <= set(row["findings"]))
    gone = [[row[name] is None for row in rows] for name in ("scan", "note")]
    assert np.mean(gone, axis=1) == pytest.approx(0.1, abs=0.03)
    assert not np.all(gone, axis=0).any()


def test_points_have_the_error_that_is_chance(tmp_path):
    module, rows = made("courses", tmp_path)
    points = np.array([row["points"] for row in rows])
    said = {words: float(step) for step, several in zip(module.STEPS, module.SAID, strict=True) for words in several}
    sure = np.array(
        [next(said[words] for words in sorted(said, key=len)[::-1] if words in row["text"]) for row in rows]
    )
    slope = [
        np.polyfit(np.arange(len(m)) / np.arange(len(m)).std(), m, 1)[0] / 25 for m in (row["minutes"] for row in rows)
    ]
    trend = np.array(slope)

    def error(*inputs):
        design = np.stack([np.ones(len(points)), *inputs], 1)
        return np.abs(points - design @ np.linalg.lstsq(design, points, rcond=None)[0]).mean()

    assert error(trend, sure) == pytest.approx(4.8, abs=0.4)
    assert error(trend) == pytest.approx(9.7, abs=0.6)
    assert error(sure) == pytest.approx(9.3, abs=0.6)
    assert error() == pytest.approx(12.4, abs=0.7)
