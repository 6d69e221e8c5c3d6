// The smallest program that classifies a picture by this network. It needs, beside it:
// classifier.js, pixels.js, manifest.json, the .tflite and the folder litert/.

import { Classifier } from "./classifier.js";
import { decode, preprocess } from "./pixels.js";

const manifest = await (await fetch("manifest.json")).json();
const threshold = manifest.abstain?.["0.95"]?.threshold ?? 0; // 95 % are right
const share = new Intl.NumberFormat("en", {
  minimumFractionDigits: 1, maximumFractionDigits: 1, roundingMode: "halfEven",
});
const classifier = await Classifier.load(manifest);

/** The likeliest classes of a file in words; the first of equal ones. */
async function describe(file) {
  const pixels = preprocess(await decode(file), manifest.preprocessing);
  const found = await classifier.classify(pixels);
  const order = [...found.keys()].sort((a, b) => found[b] - found[a] || a - b).slice(0, 3);
  const answered = found[order[0]] >= threshold, likeliest = manifest.labels[order[0]];
  const names = order.map((k) => manifest.labels[k]);
  if (!answered) names[0] = "unknown";
  const words = order.map((k, n) => `${names[n]} ${share.format(100 * found[k])} %`);
  return words.join("   ") + (answered ? "" : `  perhaps ${likeliest}`);
}

document.getElementById("file").addEventListener("change", async (event) => {
  const answer = document.getElementById("answer");
  answer.textContent = await describe(event.target.files[0]).catch((error) => error.message);
});
document.getElementById("answer").textContent = "Ready.";
