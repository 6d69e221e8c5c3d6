"""Pages of whole runs in a browser: CIFAR-10's test split, a folder of photos, axe."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import tensorflow_datasets as tfds

from export.browser import page_writer
from export.browser.page_options import PageOptions
from tests.support import axe, export_runs, pages
from tests.support.chromium import Chromium
from tests.support.commands import ROOT, TINY, run_command
from tests.support.image_folders import write_classes

pytestmark = [pages.NEEDS_BROWSER, pytest.mark.slow, pytest.mark.timeout(1800)]
FIRST_ANSWER_SECS = 3
MOST_BYTES = 12_000_000
QUICK = [word for word in TINY if not word.startswith("--dataset")]


def verify(tab) -> str:
    tab.evaluate("document.getElementById('verify').click()")
    tab.wait_until("document.getElementById('verified').textContent", 600)
    return tab.text("verified")


@pytest.fixture(scope="module")
def cifar10_run(tmp_path_factory) -> pathlib.Path:
    """A run of some steps on the prepared CIFAR-10 in $TFDS_DATA_DIR."""
    data_dir = os.environ.get("TFDS_DATA_DIR")
    if not data_dir or not tfds.builder("cifar10", data_dir=data_dir).is_prepared():
        pytest.skip("no CIFAR-10 in $TFDS_DATA_DIR")
    run = tmp_path_factory.mktemp("cifar10") / "run"
    words = ["--dataset=cifar10", "--model=resnet8", "--train_steps=30"]
    where = [f"--data_dir={data_dir}", f"--run_dir={run}"]
    run_command("trainer.main", *words, *where, check=True, fresh=True)
    return run


def test_all_answers_to_cifar10_are_litert_s(cifar10_run):
    words = [f"--run_dir={cifar10_run}", "--page_images=10000", "--max_accuracy_drop=1"]
    run_command("export.web", *words, check=True, fresh=True)
    folder = cifar10_run / "export" / "web"
    with Chromium() as browser, pages.served(folder) as url:
        tab = pages.wait_until_ready(browser.open(url))
        said = verify(tab)
    assert said.startswith("10,000 of 10,000 answers are equal to LiteRT's, and every")


def test_the_first_answer_comes_soon_and_the_page_is_small(cifar10_run):
    words = [f"--run_dir={cifar10_run}", "--max_accuracy_drop=1"]
    run_command("export.web", *words, check=True, fresh=True)
    folder = cifar10_run / "export" / "web"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    seconds = []
    with Chromium() as browser, pages.served(folder) as url:
        for _ in range(3):  # the best of three: the machine may have other work
            start = time.monotonic()
            tab = pages.wait_until_ready(browser.open(url))
            tab.evaluate("document.querySelector('#gallery button').click()")
            tab.wait_until("document.getElementById('answer').textContent")
            seconds.append(time.monotonic() - start)
    assert min(seconds) <= FIRST_ANSWER_SECS, seconds


def test_a_folder_of_photos_becomes_a_page(tmp_path):
    names = {"<b>disc</b>": 40, "\U0001f408 'cat'": 40}
    photos = write_classes(tmp_path / "photos", names, size=(20, 30))
    run = f"--run_dir={tmp_path / 'run'}"
    words = [f"--image_dir={photos}", f"--data_dir={tmp_path / 'data'}"]
    words += ["--image_size=16", "--resize=letterbox", run]
    run_command("trainer.main", *QUICK, *words, check=True, fresh=True)
    # Noise has no classes to learn: integers would miss their gate.
    run_command("export.web", "--scheme=float32", run, check=True, fresh=True)
    photo = next(photos.rglob("*.png"))
    done = run_command(
        "eval.predict",
        f"--model={tmp_path / 'run' / 'export' / 'model_float32.tflite'}",
        "--format=jsonl",
        str(photo),
        check=True,
        fresh=True,
    )
    expected = json.loads(done.stdout.splitlines()[0])
    with Chromium() as browser, pages.served(tmp_path / "run/export/web") as url:
        tab = pages.wait_until_ready(browser.open(url))
        assert " answers are equal to LiteRT's" in verify(tab)
        assert tab.evaluate("document.getElementById('verified').className") == "right"
        tab.evaluate("document.getElementById('answer').replaceChildren()")
        tab.choose_file("#file", photo)
        tab.wait_until("document.getElementById('answer').textContent")
        name, _, share = tab.text("answer").rpartition(", ")
        assert pages.faults(tab) == []
    assert name == expected["class"]
    probability = pytest.approx(100 * expected["probability"], abs=0.06)
    assert float(share.split()[0]) == probability


def test_the_command_serves_until_ctrl_c(tmp_path):
    run = export_runs.copied(tmp_path)
    words = [sys.executable, "-m", "export.web", "--serve", "--port=0"]
    words += [f"--run_dir={run}", "--max_accuracy_drop=0.02"]
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        url = lines[2].split()[0]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"Image classifier" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_axe_finds_no_fault():
    opened = export_runs.opened("--max_accuracy_drop=0.02")
    made = page_writer.write_page(opened, PageOptions(images=30), pages.runtime())
    with Chromium() as browser, pages.served(made.path) as url:
        for width, dark in ((1000, False), (400, True)):
            tab = pages.wait_until_ready(browser.open(url, width, dark=dark))
            tab.evaluate("document.querySelector('#gallery button').click()")
            verify(tab)
            tab.evaluate("document.querySelector('details').open = true")
            assert axe.find_faults(tab) == []
