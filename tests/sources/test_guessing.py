"""What columns are: a hundred and more whose kind a reader of the rules can tell, written before there was code.

A case is (what it shows, name of the column, its values, the kind expected). Values are made by a function of a
generator and the number of rows. Where two readings are likely, the kind expected is "?".
"""

import base64
import datetime as dt
import decimal
import io
import itertools
import os
import re
import uuid
import wave

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmkit.errors import UsageError
from mmkit.registry.catalog import installed
from mmkit.sources.guessing import guess, guesses
from mmkit.sources.paths import located

JPEG_NAMES = [f"img/{i}.jpg" for i in range(40)]
WORDS = [
    "the",
    "film",
    "was",
    "slow",
    "but",
    "its",
    "end",
    "moved",
    "me",
    "deeply",
    "we",
    "went",
    "home",
    "by",
    "bus",
    "after",
    "dinner",
    "nobody",
    "knew",
    "why",
    "prices",
    "rose",
    "again",
    "while",
    "service",
    "stayed",
    "poor",
    "although",
    "staff",
    "were",
    "kind",
    "and",
    "quick",
    "room",
    "small",
    "clean",
    "view",
    "lake",
    "never",
    "back",
]
CHINESE = ["我喜欢这个图片", "这个图片让我感到悲伤", "我爱北京天安门", "今天天气很好", "电影太长了", "服务员很友好"]
THAI = ["ฉันชอบภาพนี้มาก", "วันนี้อากาศดีมาก", "อาหารอร่อยแต่แพงไป"]
FIRST = ["Anna", "Bernd", "Carla", "Dmitri", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Kaito", "Lena"]
COUNTRIES = ["DE", "FR", "NA", "US", "GB", "IT", "ES", "PL", "SE", "NO"]


def jpeg(colour: int) -> bytes:
    """A small image in a file's bytes."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (colour % 256, colour // 256 % 256, 9)).save(file, "JPEG")
    return file.getvalue()


def png(colour: int) -> bytes:
    """The same, as PNG."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (colour % 256, colour // 256 % 256, 9)).save(file, "PNG")
    return file.getvalue()


def wav(tone: int) -> bytes:
    """A short sound in a file's bytes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes((np.sin(np.arange(80) * (1 + tone % 50) / 9) * 9000).astype("<i2").tobytes())
    return file.getvalue()


def sentence(r, low=6, high=20):
    return " ".join(r.choice(WORDS, r.integers(low, high)))


def moments(r, n, form):
    days = r.integers(0, 3650, n)
    start = dt.datetime(2014, 1, 1, 10, 0)
    return [(start + dt.timedelta(days=int(d), minutes=int(d) % 600)).strftime(form) for d in days]


def gappy(r, values, share=0.1):
    return [None if gap else value for gap, value in zip(r.random(len(values)) < share, values, strict=True)]


def shuffled(r, values):
    return [values[i] for i in r.permutation(len(values))]


def pick(r, n, values):
    return [values[i] for i in r.integers(0, len(values), n)]


TYPED = [
    ("bools", "is_member", lambda r, n: pick(r, n, [True, False]), "category"),
    ("bools with gaps", "opt_in", lambda r, n: pick(r, n, [True, False, None]), "category"),
    ("dictionary", "brand", lambda r, n: pa.array(pick(r, n, ["a", "b", "c"])).dictionary_encode(), "category"),
    ("dates of Arrow", "day", lambda r, n: pa.array(r.integers(0, 20000, n).astype("i4"), pa.date32()), "date"),
    (
        "moments of Arrow",
        "at",
        lambda r, n: pa.array(r.integers(10**15, 1.7 * 10**15, n), pa.timestamp("us", "UTC")),
        "date",
    ),
    ("times of Arrow", "opens", lambda r, n: pa.array(r.integers(0, 86400, n).astype("i4"), pa.time32("s")), "date"),
    ("decimals", "amount", lambda r, n: [decimal.Decimal(int(v)) / 100 for v in r.integers(0, 10**6, n)], "number"),
    ("nulls of no type", "notes", lambda r, n: pa.nulls(n), "ignore"),
    ("all missing", "notes", lambda r, n: pa.nulls(n, pa.string()), "ignore"),
    ("all blank", "notes", lambda r, n: pick(r, n, ["", " ", None]), "ignore"),
    ("all NaN", "score", lambda r, n: np.full(n, np.nan), "ignore"),
    ("one word", "source", lambda r, n: ["web"] * n, "ignore"),
    ("one number", "version", lambda r, n: [3] * n, "ignore"),
    ("one fraction", "scale", lambda r, n: [0.5] * n, "ignore"),
]

BYTES = [
    ("JPEG in bytes", "photo", lambda r, n: [jpeg(i % 40) for i in range(n)], "image"),
    ("a mapping of bytes", "image", lambda r, n: [{"bytes": png(i % 40), "path": None} for i in range(n)], "image"),
    ("sounds in bytes", "clip", lambda r, n: [wav(i % 40) for i in range(n)], "audio"),
    (
        "videos in bytes",
        "clip",
        lambda r, n: [b"\0\0\0\x20ftypisom\0\0\2\0" + bytes([i % 250]) for i in range(n)],
        "video",
    ),
    (
        "data URIs",
        "thumb",
        lambda r, n: ["data:image/png;base64," + base64.b64encode(png(i % 40)).decode() for i in range(n)],
        "image",
    ),
    ("base64", "img", lambda r, n: [base64.b64encode(jpeg(i % 40)).decode() for i in range(n)], "image"),
    ("base64 of sounds", "voice", lambda r, n: [base64.b64encode(wav(i % 40)).decode() for i in range(n)], "audio"),
    (
        "bytes of no known kind",
        "blob",
        lambda r, n: [b"\x80\x04" + bytes([i % 250, i // 250]) for i in range(n)],
        "ignore",
    ),
    ("WebP in bytes", "photo", lambda r, n: [b"RIFF\x10\0\0\0WEBPVP8 " + bytes([i % 250]) for i in range(n)], "image"),
]

FILES = [
    ("images that are there", "image", lambda r, n: pick(r, n, JPEG_NAMES), "image"),
    ("upper case ends", "pic", lambda r, n: pick(r, n, ["img/A.JPG", "img/B.PNG", "img/C.jpeg"]), "image"),
    ("images of several formats", "path", lambda r, n: pick(r, n, [*JPEG_NAMES, "img/a.png", "img/b.webp"]), "image"),
    (
        "a few without an end",
        "path",
        lambda r, n: [*pick(r, n - n // 20, JPEG_NAMES), *["unknown"] * (n // 20)],
        "image",
    ),
    ("sounds that are there", "sound", lambda r, n: pick(r, n, ["snd/a.wav", "snd/b.flac", "snd/c.mp3"]), "audio"),
    ("videos that are there", "clip", lambda r, n: pick(r, n, ["vid/a.mp4", "vid/b.mov"]), "video"),
    ("images that are not there", "image", lambda r, n: [f"gone/{i}.jpg" for i in range(n)], "?"),
    ("images above the folder", "image", lambda r, n: [f"../../up/{i}.jpg" for i in range(n)], "?"),
    ("images elsewhere", "image", lambda r, n: [f"/srv/photos/{i}.png" for i in range(n)], "?"),
    ("images of the web", "url", lambda r, n: [f"https://example.org/{i}.jpg" for i in range(n)], "?"),
    (
        "images of the web, with a query",
        "url",
        lambda r, n: [f"https://example.org/{i}.jpg?w=9" for i in range(n)],
        "?",
    ),
    ("sounds of a bucket", "audio", lambda r, n: [f"s3://bucket/{i}.wav" for i in range(n)], "?"),
    ("files of another kind", "contract", lambda r, n: [f"docs/c{i}.pdf" for i in range(n)], "ignore"),
]

LISTS = [
    ("lists of lists", "ecg", lambda r, n: [r.random((r.integers(3, 6), 2)).tolist() for _ in range(n)], "series"),
    ("lists of numbers", "sensor", lambda r, n: [r.random(r.integers(5, 20)).tolist() for _ in range(n)], "series"),
    ("embeddings", "embedding", lambda r, n: [r.random(8).tolist() for _ in range(n)], "numbers"),
    (
        "lists of one length by type",
        "embedding",
        lambda r, n: pa.FixedSizeListArray.from_arrays(pa.array(r.random(n * 4)), 4),
        "numbers",
    ),
    ("whole numbers of one length", "rgb", lambda r, n: r.integers(0, 255, (n, 3)).tolist(), "numbers"),
    ("lists of words", "genres", lambda r, n: [pick(r, r.integers(0, 4), ["a", "b", "c"]) for _ in range(n)], "tags"),
    ("lists with gaps", "e", lambda r, n: gappy(r, [r.random(3).tolist() for _ in range(n)]), "numbers"),
    ("lists that are all empty", "tags", lambda r, n: pa.array([[]] * n, pa.list_(pa.string())), "ignore"),
    ("lists as JSON", "vector", lambda r, n: [str(r.random(3).round(3).tolist()) for _ in range(n)], "numbers"),
    ("series as JSON", "trace", lambda r, n: [str(r.random(3 + i % 4).round(3).tolist()) for i in range(n)], "series"),
    ("words as JSON", "tags", lambda r, n: pick(r, n, ['["a"]', '["a", "b"]', "[]", '["c"]']), "tags"),
]

DATES = [
    ("year first", "day", lambda r, n: moments(r, n, "%Y-%m-%d"), "date"),
    ("year first with zone", "ts", lambda r, n: moments(r, n, "%Y-%m-%dT%H:%MZ"), "date"),
    ("year first with seconds", "ts", lambda r, n: moments(r, n, "%Y-%m-%d %H:%M:%S.123"), "date"),
    ("year first with an offset", "ts", lambda r, n: moments(r, n, "%Y-%m-%dT%H:%M:%S+02:00"), "date"),
    ("year first with strokes", "day", lambda r, n: moments(r, n, "%Y/%m/%d"), "date"),
    ("year and month", "month", lambda r, n: moments(r, n, "%Y-%m"), "date"),
    ("year first with gaps", "day", lambda r, n: gappy(r, moments(r, n, "%Y-%m-%d")), "date"),
    ("digits alone", "day", lambda r, n: moments(r, n, "%Y%m%d"), "date"),
    ("digits alone, as numbers", "yyyymmdd", lambda r, n: [int(v) for v in moments(r, n, "%Y%m%d")], "date"),
    ("day first", "datum", lambda r, n: moments(r, n, "%d.%m.%Y"), "date:dayfirst"),
    ("day first with a time", "datum", lambda r, n: moments(r, n, "%d/%m/%Y %H:%M"), "date:dayfirst"),
    ("day first, short years", "datum", lambda r, n: moments(r, n, "%d.%m.%y"), "date:dayfirst"),
    ("month first", "date", lambda r, n: moments(r, n, "%m/%d/%Y"), "date:monthfirst"),
    (
        "none above 12",
        "date",
        lambda r, n: [f"{r.integers(1, 13):02}/{r.integers(1, 13):02}/2020" for _ in range(n)],
        "?",
    ),
    ("seconds since 1970", "created_at", lambda r, n: r.integers(1_400_000_000, 1_700_000_000, n), "date"),
    ("thousandths since 1970", "timestamp", lambda r, n: r.integers(1.4 * 10**12, 1.7 * 10**12, n), "date"),
    ("seconds in strings", "updated", lambda r, n: [str(v) for v in r.integers(1.4 * 10**9, 1.7 * 10**9, n)], "date"),
]

WHOLE = [
    ("row numbers", "Unnamed: 0", lambda r, n: list(range(n)), "ignore"),
    ("row numbers from 1", "no", lambda r, n: list(range(1, n + 1)), "ignore"),
    ("row numbers in strings", "n", lambda r, n: [str(i) for i in range(n)], "ignore"),
    ("ids in another order", "customer_id", lambda r, n: shuffled(r, list(range(500, 500 + 3 * n, 3))), "ignore"),
    ("ids of camel case", "passengerId", lambda r, n: shuffled(r, list(range(7, 7 + 2 * n, 2))), "ignore"),
    ("ids that repeat", "user_id", lambda r, n: r.integers(10**4, 10**4 + n // 4, n), "category"),
    ("book numbers", "isbn", lambda r, n: 9_780_000_000_000 + r.permutation(9 * n)[:n], "ignore"),
    ("large numbers, all different", "ref", lambda r, n: r.integers(2**60, 2**62, n), "ignore"),
    (
        "hashes that repeat",
        "user",
        lambda r, n: np.array(r.integers(2**60, 2**62, n // 10))[r.integers(0, n // 10, n)],
        "category",
    ),
    ("stars", "stars", lambda r, n: r.integers(1, 6, n), "category"),
    ("stars with gaps, as floats", "stars", lambda r, n: pick(r, n, [1.0, 2.0, 3.0, np.nan]), "category"),
    ("stars in strings", "rating", lambda r, n: pick(r, n, ["1", "2", "3", "4"]), "category"),
    ("0 and 1", "flag", lambda r, n: r.integers(0, 2, n), "category"),
    ("postal codes", "zip", lambda r, n: pick(r, n, list(range(10001, 10001 + n // 5))), "category"),
    ("types by number", "product_type", lambda r, n: r.integers(0, 40, n), "category"),
    ("ages", "age", lambda r, n: r.integers(18, 90, n), "number"),
    ("years", "year_built", lambda r, n: r.integers(1950, 2020, n), "number"),
    ("counts", "visits", lambda r, n: r.poisson(200, n), "number"),
    ("counts below zero", "balance", lambda r, n: r.integers(-5000, 5000, n), "number"),
    ("ages in strings", "age", lambda r, n: [str(v) for v in r.integers(18, 90, n)], "number"),
    ("months", "month", lambda r, n: r.integers(1, 13, n), "number"),
]

NUMBERS = [
    ("measures", "height", lambda r, n: r.normal(170, 9, n), "number"),
    ("measures with gaps", "height", lambda r, n: np.where(r.random(n) < 0.2, np.nan, r.normal(0, 1, n)), "number"),
    ("halves", "size", lambda r, n: pick(r, n, [0.5, 1.0, 1.5, 2.0]), "number"),
    ("degrees", "lat", lambda r, n: [f"{v:.4f}" for v in r.uniform(-90, 90, n)], "number"),
    ("question marks", "hours", lambda r, n: pick(r, n, ["?", *[f"{v / 10}" for v in range(30)]]), "number"),
    (
        "na, none and dashes",
        "x",
        lambda r, n: pick(r, n, ["na", "None", "-", *[f"{v / 10}" for v in range(90)]]),
        "number",
    ),
    ("dollars", "price", lambda r, n: [f"${v:,.2f}" for v in r.uniform(1, 9000, n)], "number"),
    ("euros", "preis", lambda r, n: [f"{v},{int(v) % 100:02} €" for v in r.integers(1, 900, n)], "number"),
    ("percent", "share", lambda r, n: [f"{v} %" for v in r.integers(0, 101, n)], "number"),
    ("percent without a space", "share", lambda r, n: [f"{v:.1f}%" for v in r.uniform(0, 101, n)], "number"),
    ("decimal commas", "wert", lambda r, n: [f"{v:.2f}".replace(".", ",") for v in r.uniform(0, 90, n)], "number"),
    ("thousands with commas", "sum", lambda r, n: [f"{v:,}" for v in r.integers(100, 10**6, n)], "number"),
    (
        "bytes and units",
        "size",
        lambda r, n: [f"{v} {u}" for v, u in zip(r.integers(1, 999, n), pick(r, n, ["KB", "MB"]), strict=True)],
        "number",
    ),
    ("powers of ten", "p", lambda r, n: [f"{v:.2e}" for v in r.uniform(0, 1, n)], "number"),
    ("leading zeros", "fips", lambda r, n: pick(r, n, [f"{v:05}" for v in range(501, 541)]), "category"),
    ("leading zeros, all different", "ean", lambda r, n: [f"{v:08}" for v in r.permutation(9 * n)[:n]], "ignore"),
]

TEXTS = [
    ("reviews", "review", lambda r, n: [sentence(r) for _ in range(n)], "text"),
    ("reviews with gaps", "review", lambda r, n: gappy(r, [sentence(r) for _ in range(n)]), "text"),
    ("titles", "title", lambda r, n: [sentence(r, 3, 6) for _ in range(n)], "text"),
    ("Chinese", "text", lambda r, n: ["".join(pick(r, 2, CHINESE)) + str(i % 97) for i in range(n)], "text"),
    ("Thai", "text", lambda r, n: ["".join(pick(r, 2, THAI)) + str(i % 97) for i in range(n)], "text"),
    (
        "names of people",
        "name",
        lambda r, n: [
            f"{a} {b}son{i}" for i, (a, b) in enumerate(zip(pick(r, n, FIRST), pick(r, n, FIRST), strict=True))
        ],
        "text",
    ),
    ("addresses", "address", lambda r, n: [f"{i} {w.title()} Street" for i, w in enumerate(pick(r, n, WORDS))], "text"),
    ("pages", "body", lambda r, n: [f"<p>{sentence(r)}</p> <br/>" for _ in range(n)], "text"),
    ("hashtags", "tags", lambda r, n: [" ".join("#" + w for w in r.choice(WORDS, 4)) for _ in range(n)], "text"),
]

STRINGS = [
    ("countries, Namibia among them", "country", lambda r, n: pick(r, n, COUNTRIES), "category"),
    ("yes and no", "smoker", lambda r, n: pick(r, n, ["yes", "no"]), "category"),
    ("grades", "grade", lambda r, n: pick(r, n, list("ABCDF")), "category"),
    (
        "words of two parts",
        "city",
        lambda r, n: pick(r, n, ["New York", "Los Angeles", "San Jose", "Rome"]),
        "category",
    ),
    (
        "three words, few different",
        "plan",
        lambda r, n: pick(r, n, ["free of charge", "paid by month", "paid by year"]),
        "category",
    ),
    ("few strings, some missing", "city", lambda r, n: gappy(r, pick(r, n, ["Rome", "Oslo", "Bonn"])), "category"),
    ("many words", "town", lambda r, n: pick(r, n, [f"{a}{b}" for a in FIRST for b in WORDS]), "category"),
    ("codes that repeat", "model", lambda r, n: pick(r, n, [f"AB-{v}" for v in range(60)]), "category"),
    ("versions", "release", lambda r, n: pick(r, n, [f"1.{a}.{b}" for a in range(9) for b in range(7)]), "category"),
    ("uuids", "key", lambda r, n: [str(uuid.UUID(bytes=r.bytes(16))) for _ in range(n)], "ignore"),
    ("e-mail", "contact", lambda r, n: [f"user.{chr(97 + i % 26)}{i}@example.org" for i in range(n)], "ignore"),
    ("hashes", "sha", lambda r, n: [r.bytes(10).hex() for _ in range(n)], "ignore"),
    (
        "addresses of machines",
        "ip",
        lambda r, n: [f"10.{i // 65536}.{i // 256 % 256}.{i % 256}" for i in range(n)],
        "ignore",
    ),
    ("pages of the web", "link", lambda r, n: [f"https://example.org/item/{i}" for i in range(n)], "ignore"),
]

CASES = [*TYPED, *BYTES, *FILES, *LISTS, *DATES, *WHOLE, *NUMBERS, *TEXTS, *STRINGS]

MODALITIES = [entry.spec for entry in installed().available("modality")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that the written columns name."""
    folder = tmp_path_factory.mktemp("files")
    others = ["img/A.JPG", "img/B.PNG", "img/C.jpeg", "img/a.png", "img/b.webp", "snd/a.wav", "snd/b.flac", "snd/c.mp3"]
    for name in [*JPEG_NAMES, *others, "vid/a.mp4", "vid/b.mov"]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\xff\xd8\xff")
    return folder


def as_column(values):
    array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    return pa.chunked_array([array])


def in_pieces(column, count=7):
    """The same rows in several chunks."""
    cuts = np.linspace(0, len(column), count + 1).astype(int)
    return pa.chunked_array(
        [column.slice(a, b - a).combine_chunks() for a, b in itertools.pairwise(cuts)], type=column.type
    )


@pytest.mark.parametrize("rows", [1000, pytest.param(20_000, marks=pytest.mark.full)])
@pytest.mark.parametrize(("shows", "name", "values", "kind"), CASES, ids=[case[0] for case in CASES])
def test_columns_are_what_a_reader_of_the_rules_says(files, shows, name, values, kind, rows):
    column = as_column(values(np.random.default_rng(3), rows))
    assert len(column) == rows
    found = guess(name, column, modalities=MODALITIES, files=files)
    assert ("?" if found.problem else found.kind) == kind, found
    assert found.reason
    assert guess(name, in_pieces(column), modalities=MODALITIES, files=files) == found


def test_a_column_that_equals_an_earlier_one_is_ignored():
    r = np.random.default_rng(0)
    ages = as_column(r.integers(0, 90, 500))
    columns = {"age": ages, "other": as_column(r.integers(0, 90, 500)), "copy": in_pieces(ages)}
    found = guesses(columns)
    assert [found[name].kind for name in columns] == ["number", "number", "ignore"]
    assert found["copy"].reason == "equal to the column age"
    # What the user wrote stands, and an ignored column hides no other.
    assert guesses(columns, {"copy": "category"})["copy"].kind == "category"
    assert guesses(columns, {"age": "ignore"})["copy"].kind == "number"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"agee": "number"}, "there is no column 'agee'; did you mean age"),
        ({"age": "numbr"}, "column 'age' cannot be of the kind 'numbr'; did you mean number"),
        ({"word": "number"}, "column 'word' cannot be a number: its values have no one form, as 'some'"),
        ({"word": "date"}, "column 'word' cannot be read as date: its values are as 'some'"),
        ({"age": "tags"}, "column 'age' cannot be tags, which are lists: its values are as 1"),
    ],
)
def test_what_is_written_wrongly_is_refused_with_what_to_write(given, told):
    columns = {"age": as_column([1, 2, 3] * 20), "word": as_column(["some", "words", "here"] * 20)}
    with pytest.raises(UsageError, match="^" + told):
        guesses(columns, given)


def test_strings_that_mean_missing_are_named_in_numbers_and_stay_elsewhere():
    r = np.random.default_rng(0)
    numbers = guess("x", as_column(pick(r, 600, ["?", "na", *[f"{v / 10}" for v in range(40)]])))
    assert numbers.absent == ("?", "na")
    assert numbers.reason == "numbers; '?', 'na' read as missing"
    countries = guess("country", as_column(pick(r, 600, COUNTRIES)))
    assert countries.missing == 0
    assert countries.absent == ()


def test_missing_is_counted_in_the_whole_column():
    values = [None, "", "  ", "?", *map(str, range(30_000))]
    assert guess("height_mm", as_column([*values, *map(str, range(500))])).missing == 4
    assert guess("text", as_column([None, float("nan"), *[0.5, 1.5] * 9000])).missing == 2


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("images that are not there", "none of which is in the folder .*--files DIR"),
        ("images above the folder", "outside the folder .*--outside"),
        ("images elsewhere", "outside the folder"),
        ("images of the web", "nothing is fetched.*--column url=ignore"),
    ],
)
def test_a_problem_says_what_to_write(files, case, told):
    _, name, values, _ = next(known for known in FILES if known[0] == case)
    found = guess(name, as_column(values(np.random.default_rng(0), 100)), modalities=MODALITIES, files=files)
    assert found.problem is not None
    assert re.search(told, found.problem), found.problem


def test_files_outside_are_read_where_it_is_allowed(files, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff")
    column = as_column([str(tmp_path / "a.jpg"), "gone.jpg"] * 20)
    assert guess("image", column, modalities=MODALITIES, files=files).problem
    assert guess("image", column, modalities=MODALITIES, files=files, outside=True).problem is None


def test_links_that_leave_the_folder_are_outside_and_a_fifo_is_no_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"\xff")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "in" / "loop.jpg").symlink_to(tmp_path / "in" / "loop.jpg")
    (tmp_path / "in" / "plain.jpg").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "in" / "pipe.jpg")
    names = [
        "link.jpg",
        "loop.jpg",
        "plain.jpg",
        "pipe.jpg",
        "gone.jpg",
        "a\0.jpg",
        "x" * 5000,
        "s3://b/x.jpg",
        ".",
        "",
    ]
    states = [located(name, tmp_path / "in")[1] for name in names]
    assert states == [
        "outside", "invalid", "file", "other", "missing", "invalid", "invalid", "remote", "other", "other",
    ]  # fmt: skip
    assert located("link.jpg", tmp_path / "in", outside=True)[1] == "file"


def test_zeros_without_a_digit_before_the_point_are_numbers():
    assert guess("x", pa.chunked_array([[".0", ".00"] * 30])).kind == "number"
