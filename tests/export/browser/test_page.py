"""The page in a real browser: answers are LiteRT's, and it asks no other host."""

import base64
import io
import json
import random
import shutil

import numpy as np
import pytest
from PIL import Image

from export.browser import page_writer
from export.browser.page_options import PageOptions
from tests.support import export_runs, odd_images, pages
from trainer.config.enums import Resize
from trainer.data import preprocessing
from trainer.data.preprocessing import PixelSpec

pytestmark = pages.NEEDS_BROWSER
NAMES = [
    "</script><script>document.title='x'</script>",
    "a \"quote\" & an 'apostrophe'",
]
NAMES += ["two\nlines", "\U0001f408 cat", "\u202eright to left", "", "x" * 300]
PIXELS = """(async () => {
  const pixels = await import('./pixels.js');
  const bytes = Uint8Array.from(atob(%s), (char) => char.charCodeAt(0));
  const canvas = await pixels.decode(new Blob([bytes]));
  return btoa(String.fromCharCode(...pixels.preprocess(canvas, %s)));
})()"""
# A file of any origin is one event away: paste and drop give the same list of files.
GIVE = """(async () => {
  const bytes = Uint8Array.from(atob(%s), (char) => char.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "a.png", {type: "image/png"}));
  const how = {bubbles: true, cancelable: true};
  document.dispatchEvent(%s);
})()"""
PASTE = "new ClipboardEvent('paste', {...how, clipboardData: data})"
DROP = "new DragEvent('drop', {...how, dataTransfer: data})"


@pytest.fixture(scope="module")
def site():
    opened = export_runs.opened("--max_accuracy_drop=0.02")
    made = page_writer.write_page(opened, PageOptions(images=60), pages.runtime())
    with pages.served(made.path) as url:
        yield made, url


@pytest.fixture(scope="module")
def tab(browser, site):
    return pages.wait_until_ready(browser.open(site[1]))


def encode(content: bytes) -> str:
    return json.dumps(base64.b64encode(content).decode())


def png(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def wait_for_answer(tab) -> str:
    tab.wait_until("document.getElementById('answer').textContent")
    return tab.text("answer")


def clear(tab) -> None:
    tab.evaluate("document.getElementById('answer').replaceChildren()")


def test_every_answer_is_litert_s(tab):
    tab.evaluate("document.getElementById('verify').click()")
    tab.wait_until("document.getElementById('verified').textContent")
    said = tab.text("verified")
    assert said.endswith("file is the one of the manifest (SHA-256).")
    assert said.startswith("60 of 60 answers are equal to LiteRT's, and every proba")
    assert tab.evaluate("document.querySelectorAll('#marks .right').length") == 60


def test_the_smallest_page_answers_in_the_words_of_the_programs(
    browser, site, tmp_path
):
    made, url = site
    tab = browser.open(f"{url}example.html")
    tab.wait_until("document.getElementById('answer').textContent == 'Ready.'")
    shown = export_runs.opened().verification_set
    Image.fromarray(shown.images[0]).save(tmp_path / "a.png")
    tab.choose_file("#file", tmp_path / "a.png")
    tab.wait_until("document.getElementById('answer').textContent != 'Ready.'")
    answers = np.fromfile(made.path / "answers.bin", "<f4").reshape(60, -1)[0]
    order = np.argsort(-answers, kind="stable")[:3]
    words = [f"{shown.names[k]} {100 * float(answers[k]):.1f} %" for k in order]
    found, best = tab.text("answer"), shown.names[order[0]]
    if found.startswith("unknown "):
        found = found.replace("unknown", best, 1).removesuffix(f"  perhaps {best}")
    assert found.split() == " ".join(words).split() and pages.faults(tab) == []
    (tmp_path / "b.png").write_text("no picture")
    tab.choose_file("#file", tmp_path / "b.png")
    tab.wait_until("document.getElementById('answer').textContent.includes('cannot')")
    assert all(asked.startswith(url) for asked in tab.requests())


def test_another_answer_is_seen(browser, site, tmp_path):
    folder = shutil.copytree(site[0].path, tmp_path / "web")
    answers = np.fromfile(folder / "answers.bin", "<f4").reshape(60, -1)
    answers[7] = np.roll(answers[7], 1)
    answers.tofile(folder / "answers.bin")
    with pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url))
        tab.evaluate("document.getElementById('verify').click()")
        tab.wait_until("document.getElementById('verified').textContent")
        assert tab.text("verified").startswith("59 of 60 answers are equal")
        assert tab.evaluate("document.getElementById('verified').className") == "wrong"
        assert "differs" in tab.evaluate(
            "document.querySelectorAll('#marks li')[7].textContent"
        )


def test_another_network_is_seen(browser, site, tmp_path):
    folder = shutil.copytree(site[0].path, tmp_path / "web")
    with (folder / "model_int8.tflite").open("ab") as file:
        file.write(b"\0")
    with pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url))
        tab.evaluate("document.getElementById('verify').click()")
        tab.wait_until("document.getElementById('verified').textContent")
        assert "file is not the one of the manifest" in tab.text("verified")


def test_nothing_is_asked_of_another_host(tab, site):
    assert all(url.startswith(site[1]) for url in tab.requests())
    assert pages.faults(tab) == []
    meta = "document.querySelector('meta[http-equiv]').content"
    assert "default-src 'none'" in tab.evaluate(meta)
    blocked = "fetch('http://127.0.0.1:1/').catch(() => 'no')"
    assert tab.evaluate(blocked) == "no"


@pytest.mark.parametrize("event", [PASTE, DROP], ids=["paste", "drop"])
def test_a_picture_that_is_pasted_or_dropped_is_classified(tab, site, event):
    clear(tab)
    tab.evaluate(GIVE % (encode(png()), event))
    assert "%" in wait_for_answer(tab)
    width = site[0].manifest["image_shape"][1]
    assert tab.evaluate("document.getElementById('seen').width") == width


def test_a_file_that_is_chosen_is_classified(tab, tmp_path):
    clear(tab)
    (tmp_path / "a.png").write_bytes(png())
    tab.choose_file("#file", tmp_path / "a.png")
    assert "%" in wait_for_answer(tab)
    clear(tab)
    (tmp_path / "b.png").write_bytes(b"no picture")
    tab.choose_file("#file", tmp_path / "b.png")
    assert wait_for_answer(tab).startswith("b.png cannot be classified: this browser")
    assert tab.evaluate("document.getElementById('result').hidden")


def test_the_webcam_is_classified_until_it_is_stopped(tab):
    clear(tab)
    tab.evaluate("document.getElementById('webcam').click()")
    assert "%" in wait_for_answer(tab)
    assert tab.text("webcam") == "Stop the webcam"
    tab.evaluate("document.getElementById('webcam').click()")
    assert tab.evaluate("document.getElementById('video').srcObject") is None


def test_it_works_with_the_keyboard_alone(tab):
    clear(tab)
    tab.evaluate("document.getElementById('webcam').focus()")
    tab.press("Tab", 9)
    assert tab.evaluate("document.activeElement.closest('#gallery') !== null")
    tab.press("Enter", 13, "\r")
    assert "(right)" in (said := wait_for_answer(tab)) or "(wrong: it is" in said
    assert tab.evaluate("document.activeElement.ariaPressed") == "true"


CHOOSE = """(() => {
  const choice = document.getElementById('abstain');
  choice.value = '%s';
  choice.dispatchEvent(new Event('change'));
})()"""


def test_below_a_threshold_it_does_not_know(browser, site, tmp_path):
    folder = shutil.copytree(site[0].path, tmp_path / "web")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest["abstain"]) == ["0.90", "0.95", "0.99"]
    thresholds = {"0.90": 0.0, "0.95": 1.0, "0.99": None}
    for key, value in thresholds.items():
        manifest["abstain"][key] |= {"threshold": value, "guarantee": f"for {key}"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url, 400))
        tab.evaluate("document.querySelector('#gallery button').click()")
        always = wait_for_answer(tab)
        for key, known in (("0.90", True), ("0.95", False), ("", True)):
            tab.evaluate(CHOOSE % key)
            said = tab.text("answer")
            assert (said == always) == known
            assert said.startswith("I don't know: perhaps ") != known
            assert tab.text("abstain-text") == f"for {key or '0.99'}"
        options = "[...document.querySelectorAll('#abstain option')]"
        disabled = tab.evaluate(f"{options}.map((option) => option.disabled)")
        assert disabled == [False, False, False, True]
        assert tab.evaluate("document.documentElement.scrollWidth") == 400
        assert pages.faults(tab) == []


def test_an_older_export_has_no_thresholds_to_choose(browser, site, tmp_path):
    folder = shutil.copytree(site[0].path, tmp_path / "web")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["abstain"], manifest["abstain_rows"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url))
        assert tab.evaluate("document.getElementById('abstention').hidden")


def test_a_screen_reader_has_names_and_hears_answers(tab):
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    roles = {}
    for node in nodes:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            roles.setdefault(node["role"]["value"], []).append(name)
    assert all(roles["button"]) and all(roles["image"]) and all(roles["heading"])
    assert {"Choose a picture"} <= {*roles["button"], *roles["LabelText"]}
    live = "document.getElementById('answer').ariaLive"
    assert tab.evaluate(live) == "polite" and len(roles["status"]) == 3


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(browser, site, dark):
    tab = pages.wait_until_ready(browser.open(site[1], 400, dark=dark))
    tab.evaluate("document.querySelector('#gallery button').click()")
    wait_for_answer(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == 400
    colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark


def test_a_page_that_is_opened_as_a_file_says_what_to_do(browser, site):
    tab = browser.open((site[0].path / "index.html").as_uri())
    assert "python -m http.server" in tab.text("state")


def test_names_of_classes_are_text_whatever_they_hold(browser, site, tmp_path):
    folder = shutil.copytree(site[0].path, tmp_path / "web")
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [*NAMES, *manifest["labels"][len(NAMES) :]]
    (folder / "manifest.json").write_text(json.dumps(manifest | {"labels": names}))
    with pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url, 400))
        tab.evaluate("document.querySelector('#gallery button').click()")
        wait_for_answer(tab)
        bars = tab.evaluate(
            "[...document.querySelectorAll('#bars bdi')].map((bar) => bar.textContent)"
        )
        shown = [*NAMES[:2], "two lines", *NAMES[3:5], "(class 5)", *names[6:]]
        assert sorted(bars) == sorted(shown)
        assert "cnn" in tab.evaluate("document.title")
        assert tab.evaluate("document.documentElement.scrollWidth") == 400
        assert pages.faults(tab) == []


def browser_pixels(tab, content: bytes, spec: PixelSpec) -> np.ndarray:
    program = PIXELS % (encode(content), json.dumps(spec.to_json()))
    found = base64.b64decode(tab.evaluate(program))
    return np.frombuffer(found, np.uint8).reshape(spec.shape)


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_pixels_are_those_of_training(tab, count):
    """PNG of 16 bits alone: browsers give its upper byte, training rounds."""
    generator = random.Random(count)
    kinds = [kind for kind in odd_images.KINDS if not kind.startswith("tiff")]
    for _ in range(count):
        kind, content = odd_images.sample_image(generator, kinds)
        height, width = (generator.choice([8, 28, 33, 64]) for _ in range(2))
        resize = generator.choice(list(Resize))
        spec = PixelSpec(height, width, generator.choice([1, 3]), resize)
        expected = preprocessing.decode(content, spec).astype(int)
        difference = np.abs(browser_pixels(tab, content, spec) - expected).max()
        assert difference <= (kind == "png 16 bit"), (kind, spec)
