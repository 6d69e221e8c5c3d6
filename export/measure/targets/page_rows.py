"""Measures the page of export.web in a headless Chromium."""

import dataclasses
import json
import string
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.formats import manifest as manifests
from eval.metrics import classification
from eval.predictors import outputs
from eval.predictors.outputs import Output
from export.artifact import current_artifact, verification
from export.artifact.artifact import Artifact
from export.artifact.inputs import ExportInputs
from export.browser import chromium, litert_js, page_server, page_writer
from export.browser.chromium import Chromium
from export.browser.page_options import PageOptions
from export.measure import latency
from export.measure.targets.target import TargetMissing
from trainer.errors import TrainingFailed
from trainer.monitoring.progress import CONSOLE

_ANSWER_SECS = 600  # for all images of the page
_ROUNDS = 50
# A browser's clock has steps of 0.1 ms: some calls are timed together.
_PROGRAM = string.Template("""(async () => {
  const [{ Classifier, mostLikely }, { TestImages, fetchFile }] = await Promise.all([
    import("./classifier.js"), import("./gallery.js")]);
  const manifest = await (await fetchFile("manifest.json")).json();
  let start = performance.now();
  const classifier = await Classifier.load(manifest);
  const load = performance.now() - start;
  const tests = await TestImages.load(manifest);
  const answers = [], milliseconds = [];
  let equal = 0, identical = 0;
  for (let index = 0; index < tests.count; index++) {
    const found = await classifier.classify(tests.pixels(index));
    const expected = tests.answer(index);
    answers.push(Array.from(found));
    equal += mostLikely(found) === mostLikely(expected);
    identical += found.every((value, at) => value === expected[at]);
  }
  for (let round = 0; round < $rounds; round++) {
    start = performance.now();
    for (let n = 0; n < $calls; n++) await classifier.classify(tests.pixels(0));
    milliseconds.push((performance.now() - start) / $calls);
  }
  return { load, answers, milliseconds, equal, identical };
})()""").substitute(rounds=_ROUNDS, calls=latency.CALLS)


def measure_page(
    inputs: ExportInputs, rows: Sequence[dict[str, Any]], asked: bool
) -> list[dict[str, Any]]:
    """Returns the row of the page, whose test images a browser classifies.

    Raises:
        TargetMissing: there is no page of this run, or no browser.
        InvalidInput: the page is to be exported, and npm is not installed.
        TrainingFailed: the page cannot be exported, or does not answer.
    """
    if chromium.find_browser() is None:
        raise TargetMissing("there is no Chromium on this machine")
    made = _load_or_export(inputs, asked)
    with CONSOLE.phase("running the page in Chromium"):
        version, found = _run_page(made)
    answers = np.array(found["answers"], np.float64)
    shown = _select_shown(inputs, made)
    classification.validate(answers, shown.labels)
    page = made.manifest["page"]
    floor = outputs.min_probability(Output.PROBABILITIES, page["output_step"])
    name, _, number = version.partition("/")
    runtime = f"LiteRT.js {page['runtime']['version']}"
    row = {
        "format": "web",
        "file": made.path.name,
        "scheme": made.manifest["scheme"],
        "bytes": made.manifest["bytes"],
        **verification.compare(shown, answers, floor),
        "engine": {"name": "Chromium", "version": number, "delegate": None},
        "runtime": f"{runtime} in {name}",
        "equal_answers": found["equal"],
        "identical_answers": found["identical"],
        "load_ms": found["load"],
        "one_thread": {"threads": 1, **latency.describe(found["milliseconds"])},
    }
    return [row]


def _load_or_export(inputs: ExportInputs, asked: bool) -> Artifact:
    path = inputs.folder / page_writer.FOLDER
    made = current_artifact.load_of_run(inputs, path)
    count = len(inputs.verification_set.labels)
    verified = manifests.verification(made.manifest) if made else None
    if verified and "page" in made.manifest and verified["images"] == count:
        return made
    if not asked:
        raise TargetMissing("export.web has made no page of this run and these images")
    runtime = litert_js.load_runtime()
    return page_writer.write_page(inputs, PageOptions(), runtime)


def _run_page(made: Artifact) -> tuple[str, dict[str, Any]]:
    """Runs _PROGRAM in the page's folder; returns the browser's version, too."""
    bound = page_server.bind(0)
    with page_server.create_server(made.path, bound) as server:
        # A daemon: after Ctrl-C between two lines nothing waits for it.
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        host, port = server.server_address
        try:
            with Chromium(answer_secs=_ANSWER_SECS) as browser:
                tab = browser.attach()
                # A document of this folder without a program of its own.
                browser.load(tab, f"http://{host}:{port}/manifest.json")
                return browser.version(), browser.evaluate(tab, _PROGRAM)
        except (RuntimeError, EOFError, TimeoutError, BrokenPipeError) as error:
            raise TrainingFailed(f"the page does not run: {error}") from error
        finally:
            server.shutdown()
            thread.join()


def _select_shown(inputs: ExportInputs, made: Artifact) -> verification.VerificationSet:
    """The test images that are in the page, with the checkpoint's answers."""
    whole = inputs.verification_set
    gallery = json.loads((made.path / page_writer.GALLERY).read_text())
    rows = np.array(gallery["rows"], np.int64)
    if rows.size == 0 or rows.max() >= len(whole.labels):
        raise TrainingFailed(
            "the page has other test images than are verified here; export it again"
        )
    total = whole.split_images or len(whole.labels)
    return dataclasses.replace(
        whole,
        images=whole.images[rows],
        labels=whole.labels[rows],
        reference=whole.reference[rows],
        sampled=len(rows) < total,
        split_images=total,
    )
