// Starts the page.

import { Answer } from "./answer.js";
import { showCard } from "./card.js";
import { Classifier } from "./classifier.js";
import { byId } from "./elements.js";
import { TestImages, fetchFile, showGallery, unchoose } from "./gallery.js";
import { changesPixels, preprocess } from "./pixels.js";
import { listen } from "./sources.js";
import { explain, showVerification } from "./verify.js";

async function start() {
  byId("state").textContent = "Loading the network.";
  const manifest = await (await fetchFile("manifest.json")).json();
  const title = `${manifest.config.model.name} trained on ${manifest.data}`;
  document.title = byId("title").textContent = title;
  showCard(manifest);
  const [classifier, tests] = await Promise.all([
    Classifier.load(manifest),
    TestImages.load(manifest),
  ]);
  const answer = new Answer(manifest);
  const webcam = listen(async (picture, live) => {
    unchoose();
    const pixels = preprocess(picture, manifest.preprocessing);
    const probabilities = await classifier.classify(pixels);
    answer.show({ pixels, picture, probabilities, live });
  }, (message) => answer.refuse(message));
  showGallery(manifest, tests, async (index) => {
    webcam.stop();
    const pixels = tests.pixels(index);
    const probabilities = await classifier.classify(pixels);
    answer.show({ pixels, probabilities, known: tests.labels[index] });
  });
  explain(manifest, tests);
  byId("verify").addEventListener("click", () => showVerification(manifest, classifier, tests));
  byId("verify").disabled = false;
  byId("state").textContent = changesPixels()
    ? "Ready. This browser changes the pixels that a page reads (a setting for privacy), so answers to pictures may differ a little."
    : "Ready.";
}

start().catch((error) => {
  byId("state").className = "wrong";
  byId("state").textContent = `The page cannot start: ${error.message || error}`;
  throw error;
});
