"""The page in a real Chromium: by mouse, by keyboard, on a phone, in the dark; and nothing is asked for elsewhere."""

import json

import numpy as np
import pytest
import soundfile

import mmkit
from tests.serving.browser import CHROMIUM, Browser
from tests.serving.client import png, series
from tests.serving.conftest import QUICK, served

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install chromium to test the page in a browser"),
]
TOKEN = "t0ken-of-twenty-signs"
READY = '!document.getElementById("sample").hidden'
ANSWERED = 'document.querySelector(".answer")'
NAME = "(one) => one.getAttribute('aria-label') || one.labels?.[0]?.textContent || one.textContent"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def browser(tmp_path):
    found = Browser(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def service(folders):
    names = ("digits", "fruit", "fruit-late", "sounds", "weight")
    with served(*(folders[name] for name in names)) as (client, _):
        yield client


def url(client):
    return f"http://127.0.0.1:{client.port}/"


def choose_model(browser, name):
    browser.run(
        f"""(() => {{ const model = document.getElementById("model");
        model.value = [...model.options].findIndex((one) => one.textContent === {json.dumps(name)});
        model.dispatchEvent(new Event("change")); }})()"""
    )


def field(name):
    return f'fieldset[data-input="{name}"]'


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (768, True), (390, False), (390, True)])
def test_a_picture_and_a_series(browser, service, tmp_path, width, dark):
    (tmp_path / "three.png").write_bytes(png(3))
    browser.open(url(service), width, 800, dark)
    browser.until(READY)
    browser.choose(f"{field('written')} input", tmp_path / "three.png")
    browser.until(f"document.querySelector('{field('written')} img')?.naturalWidth === 8")
    browser.run(f"document.querySelector('{field('spoken')} textarea').focus()")
    browser.write(json.dumps(series(3)))
    browser.until(f"document.querySelector('{field('spoken')} canvas')")
    browser.press("Enter", modifiers=2)
    browser.until(ANSWERED)
    (answer,) = service.form(written=png(3), spoken=json.dumps(series(3)))[1]
    assert texts(browser, ".answer") == [answer["label"]]
    shown = texts(browser, ".card table:first-of-type th")
    assert shown == [name for name, _ in sorted(answer["probabilities"].items(), key=lambda one: -one[1])]
    gave = browser.run("[...document.querySelectorAll('.card table')][1].innerText")
    told = service.form("/predict?explain=true", written=png(3), spoken=json.dumps(series(3)))[1][0]["explanation"]
    for name, value in told["contributions"].items():
        assert name in gave
        assert f"{100 * abs(value):.1f}" in gave
    assert browser.run(WIDER) <= 0
    ink, paper = browser.run(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        ".map((one) => one.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))"
    )
    assert (ink > paper) == dark
    assert abs(ink - paper) > 500
    assert all(one.startswith(url(service)) for one in browser.asked)
    assert browser.complaints == []


def test_two_models_that_read_the_same_answer_side_by_side(browser, service):
    browser.open(url(service))
    browser.until(READY)
    choose_model(browser, "fruit")
    browser.run("document.getElementById('column-table-weight').focus()")
    browser.write("158")
    browser.press("Tab")
    browser.write("yellow")
    browser.press("Tab")
    browser.write("2024-10-09")
    browser.run(f"document.querySelector('{field('note')} textarea').focus()")
    browser.write("crisp and a little sour")
    browser.press("Enter", modifiers=2)
    browser.until("document.querySelectorAll('.answer').length === 2")
    sample = {"note": "crisp and a little sour", "table": {"weight": 158, "colour": "yellow", "picked": "2024-10-09"}}
    expected = [service.ask(sample, path=f"/models/{name}/predict")[1][0]["label"] for name in ("fruit", "fruit-late")]
    assert texts(browser, ".answer") == expected
    assert texts(browser, ".card h2") == ["fruit", "fruit-late"]
    left = browser.run("[...document.querySelectorAll('.card')].map((one) => one.getBoundingClientRect().left)")
    assert left[0] < left[1]  # beside each other
    assert browser.complaints == []


def test_the_keyboard_alone_is_enough(browser, service):
    browser.open(url(service))
    browser.until(READY)
    choose_model(browser, "weight")
    reached = []
    for _ in range(12):
        browser.press("Tab")
        reached.append(browser.run(f"({NAME})(document.activeElement)"))
        if reached[-1].strip() == "note":
            browser.write("a plum")
        if reached[-1].strip() == "Ask":
            browser.press("Enter", text="\r")
            break
    assert "Ask" in [one.strip() for one in reached], reached
    browser.until(ANSWERED)
    value = service.ask({"note": "a plum"}, path="/models/weight/predict")[1][0]["value"]
    assert float(texts(browser, ".answer")[0].replace(",", "")) == pytest.approx(value, rel=1e-3)


def test_a_sound_is_drawn_and_played(browser, service, tmp_path):
    sound = np.sin(np.arange(8000) / 20) * np.linspace(0, 1, 8000)
    soundfile.write(tmp_path / "sound.wav", sound.astype(np.float32), 16_000)
    browser.open(url(service))
    browser.until(READY)
    choose_model(browser, "sounds")
    browser.choose(f"{field('a')} input", tmp_path / "sound.wav")
    browser.until("document.querySelector('.seen')?.textContent.includes('0.50 s')")
    browser.until("document.querySelector('audio')?.duration === 0.5")
    # The waveform grows from the left to the right, as the sound does.
    heights = browser.run(
        """(() => { const canvas = document.querySelector("canvas"), context = canvas.getContext("2d");
        const { width, height } = canvas; const drawn = context.getImageData(0, 0, width, height).data;
        return [0.1, 0.5, 0.9].map((share) => { let rows = 0;
          for (let x = Math.floor(share * width); x < Math.floor(share * width) + 8; x += 1)
            for (let y = 0; y < height; y += 1) if (drawn[4 * (y * width + x) + 3]) rows += 1;
          return rows; }); })()"""
    )
    assert heights[0] < heights[1] < heights[2]
    browser.run("document.getElementById('ask').click()")
    browser.until(ANSWERED)
    assert browser.complaints == []


def test_what_is_wrong_is_said_where_it_is(browser, service, tmp_path):
    (tmp_path / "words.png").write_text("no picture")
    browser.open(url(service))
    browser.until(READY)
    browser.choose(f"{field('written')} input", tmp_path / "words.png")
    browser.run("document.getElementById('ask').click()")
    browser.until("document.querySelector('#results .error')")
    assert "cannot be read as an image" in texts(browser, f"{field('written')} .error")[0]
    asked = len(browser.asked)
    browser.run(f"document.querySelector('{field('spoken')} textarea').value = '[[1, 2'")
    browser.run("document.getElementById('ask').click()")
    assert "no JSON" in texts(browser, f"{field('spoken')} .error")[0]
    assert len(browser.asked) == asked  # it was not sent
    browser.run("document.querySelector('button[type=reset]').click()")
    browser.until("document.querySelectorAll('.seen img').length === 0")
    browser.run("document.getElementById('ask').click()")
    browser.until("document.querySelector('#results .error')")
    assert "every input is missing" in texts(browser, "#results .error")[0]


def test_names_and_texts_that_look_like_code_do_nothing(browser, service):
    evil = '<img src=x onerror="document.title=1">'
    browser.open(url(service))
    browser.until(READY)
    choose_model(browser, "fruit")
    browser.run("document.getElementById('column-table-weight').focus()")
    browser.write(evil)
    browser.press("Enter", modifiers=2)
    browser.until("document.querySelector('#results .error')")
    assert evil[:20] in texts(browser, "#results .error")[0]
    assert browser.run("document.querySelectorAll('#results img, .error img').length") == 0
    assert browser.run("document.title") == "fruit - mmkit"


def test_with_a_token_the_page_asks_for_it(browser, folders):
    with served(folders["fruit"], token=TOKEN) as (client, _):
        browser.open(url(client))
        browser.until('!document.getElementById("entrance").hidden')
        assert browser.run(READY) is False
        browser.run("document.getElementById('token').focus()")
        browser.write("wrong")
        browser.press("Enter", text="\r")
        browser.until("document.getElementById('denied').textContent")
        browser.run("document.getElementById('token').value = ''")
        browser.write(TOKEN)
        browser.press("Enter", text="\r")
        browser.until(READY)
        browser.run(f"document.querySelector('{field('note')} textarea').focus()")
        browser.write("sweet")
        browser.press("Enter", modifiers=2)
        browser.until(ANSWERED)
        assert TOKEN not in json.dumps(browser.asked)


def test_cells_go_as_the_table_of_training_has_them(browser, tmp_path):
    rows = {
        "price": [f"{1 + i % 9}.{100 + i},{10 + i}" for i in range(60)],
        "spot": [[i, 2.0 * (i % 5)] for i in range(60)],
        "colour": [["red", "blue"][i % 2] for i in range(60)],
        "label": [["yes", "no"][i % 2] for i in range(60)],
    }
    model, _ = mmkit.fit(data=rows, target="label", training=QUICK, device="cpu", progress=False)
    model.save(tmp_path / "prices")
    with served(tmp_path / "prices") as (client, _):
        browser.open(url(client))
        browser.until(READY)
        (table,) = client.get("/models")[1]["models"][0]["inputs"]
        assert {one["name"]: one["decimal"] for one in table["columns"]} == {
            "price": "comma", "spot": "point", "colour": "point",
        }  # fmt: skip
        for name, written in (("price", "1.234"), ("spot", "3, 1e1"), ("colour", "red")):
            browser.run(f"document.getElementById('column-{table['name']}-{name}').focus()")
            browser.write(written)
        sent = json.loads(browser.run(f"document.querySelector('{field(table['name'])}').value()"))
        assert sent == {"price": "1.234", "spot": [3, 10], "colour": "red"}
        browser.run(f"document.getElementById('column-{table['name']}-spot').value = '3, x'")
        browser.press("Enter", modifiers=2)
        browser.until(f"document.querySelector('{field(table['name'])} .error').textContent")
        assert "column spot" in texts(browser, f"{field(table['name'])} .error")[0]


def test_the_command_that_the_page_proposes_is_taken(browser, service):
    """Its parts are those of a form that the service reads."""
    browser.open(url(service))
    browser.until(READY)
    choose_model(browser, "fruit")
    command = browser.run("document.getElementById('command').textContent")
    assert f"127.0.0.1:{service.port}/models/fruit/predict?explain=true" in command
    parts = dict(
        line.strip().removeprefix("-F ").rstrip(" \\").strip("'").split("=", 1) for line in command.splitlines()[1:]
    )
    assert parts.keys() == {"note", "table"}
    assert service.form("/models/fruit/predict", **parts)[0] == 200
