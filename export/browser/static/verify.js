// Runs the test images in this browser and compares the answers with LiteRT's.

import { mostLikely } from "./classifier.js";
import { byId, className, element, paint, percent } from "./elements.js";
import { fetchFile } from "./gallery.js";

const MARKS = 500; // images that are shown; all that differ are shown in any case
const PAUSE_MS = 50; // after so long the browser may draw

/** Says what verification does. */
export function explain(manifest, tests) {
  const { engine } = manifest.page;
  byId("verify-text").textContent =
    `The page has ${tests.count.toLocaleString("en")} test images and the answers that `
    + `${engine.name} ${engine.version} (${engine.kernels} kernels) gave to them when it `
    + "was exported. This browser should give the same.";
  byId("verify").textContent = `Verify ${tests.count.toLocaleString("en")} images`;
}

/** Compares all test images; calls `onProgress(done)`. */
export async function verify(classifier, tests, onProgress = () => {}) {
  const found = { images: tests.count, equal: 0, identical: 0, right: 0, difference: 0, differing: [] };
  let drawn = performance.now();
  for (let index = 0; index < tests.count; index++) {
    const probabilities = await classifier.classify(tests.pixels(index));
    const expected = tests.answer(index);
    const gaps = probabilities.map((value, at) => Math.abs(value - expected[at]));
    const largest = Math.max(...gaps);
    found.difference = Math.max(found.difference, largest);
    found.identical += largest === 0;
    found.right += mostLikely(probabilities) === tests.labels[index];
    if (mostLikely(probabilities) === mostLikely(expected)) found.equal++;
    else found.differing.push(index);
    if (performance.now() - drawn > PAUSE_MS) {
      onProgress(index + 1);
      await new Promise((resolve) => setTimeout(resolve));
      drawn = performance.now();
    }
  }
  return found;
}

/** Whether the network has the manifest's SHA-256; null where a browser cannot tell. */
export async function hasHash({ files, page }) {
  if (!globalThis.crypto?.subtle) return null; // it needs HTTPS or this machine
  const content = await (await fetchFile(page.model)).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex === files[page.model].sha256;
}

/** Runs `verify` and shows it. */
export async function showVerification(manifest, classifier, tests) {
  const progress = byId("verify-progress"), line = byId("verified");
  progress.hidden = false;
  byId("verify").disabled = true;
  line.textContent = "";
  progress.max = tests.count;
  progress.value = 0;
  try {
    const found = await verify(classifier, tests, (done) => {
      progress.value = done;
    });
    found.hash = await hasHash(manifest);
    line.className = found.differing.length || found.hash === false ? "wrong" : "right";
    line.textContent = describe(found);
    showMarks(manifest, tests, new Set(found.differing));
  } catch (error) {
    line.className = "wrong";
    line.textContent = `The verification failed: ${error.message || error}`;
    throw error;
  } finally {
    progress.hidden = true;
    byId("verify").disabled = false;
  }
}

function describe(found) {
  const number = (value) => value.toLocaleString("en");
  const images = number(found.images);
  const rest = found.identical === found.images
    ? "and every probability is"
    : `and all probabilities of ${number(found.identical)}; the largest difference is ${found.difference.toExponential(1)}`;
  const file = found.hash === null ? ""
    : ` The network's file is ${found.hash ? "" : "not "}the one of the manifest (SHA-256).`;
  return `${number(found.equal)} of ${images} answers are equal to LiteRT's, ${rest}. `
    + `${number(found.right)} of ${images} are right (${percent(found.right / found.images)}).${file}`;
}

function showMarks(manifest, tests, differing) {
  const shown = [...Array(tests.count).keys()].filter((index) => index < MARKS || differing.has(index));
  byId("marks").replaceChildren(...shown.map((index) => {
    const item = element("li"), canvas = element("canvas");
    paint(canvas, tests.pixels(index), manifest.image_shape);
    canvas.setAttribute("aria-hidden", "true");
    const [mark, kind] = differing.has(index) ? ["differs", "wrong"] : ["equal", "right"];
    const name = element("bdi", className(manifest.labels, tests.labels[index]));
    item.append(canvas, name, ": ", element("span", mark, kind));
    return item;
  }));
  byId("verified-images").hidden = false;
}
