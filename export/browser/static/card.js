// The facts of the manifest that a user of the network needs.

import { byId, element, percent } from "./elements.js";

export function showCard(manifest) {
  const rows = facts(manifest).filter(([, text]) => text !== null);
  byId("card").replaceChildren(...rows.map(([name, text]) => {
    const row = element("tr"), head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", text));
    return row;
  }));
}

function facts(manifest) {
  const { page, preprocessing } = manifest;
  const test = manifest.test ?? manifest.validation;
  const [low, high] = test.accuracy_interval;
  const images = `${test.sampled ? "a sample of " : ""}${number(test.images)} ${test.split} images`;
  const model = manifest.files[page.model];
  return [
    ["Network", `${manifest.config.model.name}, ${manifest.scheme}, ${number(model.bytes)} bytes`],
    ["Accuracy", `${percent(test.accuracy, 2)} (95 % interval ${percent(low, 2)} to ${percent(high, 2)}) of ${images}`],
    ["Classes", number(manifest.labels.length)],
    ["Calibration", `expected calibration error (ECE) ${percent(test.ece, 2)}, NLL ${test.nll.toFixed(4)}`],
    ["Temperature", temperature(manifest)],
    ["Unlike the checkpoint", `${number(test.flips)} of these answers`],
    ["Trained on", manifest.data],
    ["Tested on", manifest.test_data],
    ["Pictures become", describePixels(preprocessing)],
    ["Run", `${manifest.run}, step ${number(manifest.step)}`],
    ["Exported", manifest.created],
    ["Runs on", `LiteRT.js ${page.runtime.version} (${page.runtime.license})`],
    ["File", `${page.model}, SHA-256 ${model.sha256}`],
    ["Weights", `SHA-256 ${manifest.weights_sha256}`],
  ];
}

const number = (value) => value.toLocaleString("en");

function temperature({ temperature: found, temperature_source: why }) {
  return found === "uncalibrated" ? why : `${found.toFixed(3)} (the logits are divided by it)`;
}

function describePixels({ height, width, channels, resize, filter }) {
  const kind = channels === 1 ? "grey" : "RGB";
  return `${height} x ${width} ${kind}, ${resize} (upright, ${filter})`;
}
