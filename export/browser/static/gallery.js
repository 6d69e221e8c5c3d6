// Test images of the page, with their known classes and LiteRT's answers to them.

import { byId, className, element, paint } from "./elements.js";

const SHOWN = 24;

export class TestImages {
  static async load(manifest) {
    const [images, answers, gallery] = await Promise.all([
      fetchFile("images.bin").then((found) => found.arrayBuffer()),
      fetchFile("answers.bin").then((found) => found.arrayBuffer()),
      fetchFile("gallery.json").then((found) => found.json()),
    ]);
    return new TestImages(manifest, new Uint8Array(images), new Float32Array(answers), gallery);
  }

  constructor(manifest, images, answers, { labels }) {
    const [height, width, channels] = manifest.image_shape;
    this.count = labels.length;
    this.labels = labels;
    this.size = height * width * channels;
    this.classes = manifest.labels.length;
    this.images = images;
    this.answers = answers;
    if (images.length !== this.count * this.size
        || answers.length !== this.count * this.classes) {
      throw new Error("images.bin or answers.bin has another size than the manifest says");
    }
  }

  pixels(index) {
    return this.images.slice(index * this.size, (index + 1) * this.size);
  }

  /** LiteRT's answer when the page was exported. */
  answer(index) {
    return this.answers.subarray(index * this.classes, (index + 1) * this.classes);
  }
}

export async function fetchFile(name) {
  const found = await fetch(name);
  if (!found.ok) throw new Error(`${name}: ${found.status} ${found.statusText}`);
  return found;
}

/** Shows some test images as buttons; `onChoice(index)` is called for each choice. */
export function showGallery(manifest, tests, onChoice) {
  const shown = Math.min(SHOWN, tests.count);
  const chosen = Array.from({ length: shown }, (_, n) => Math.floor((n * tests.count) / shown));
  byId("gallery").replaceChildren(...chosen.map((index) => {
    const item = element("li"), button = element("button"), canvas = element("canvas");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    paint(canvas, tests.pixels(index), manifest.image_shape);
    canvas.setAttribute("aria-hidden", "true");
    button.append(canvas, element("bdi", className(manifest.labels, tests.labels[index])));
    button.addEventListener("click", async () => {
      unchoose();
      button.setAttribute("aria-pressed", "true");
      await onChoice(index);
    });
    item.append(button);
    return item;
  }));
}

/** No image is chosen any longer. */
export function unchoose() {
  for (const button of byId("gallery").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", "false");
  }
}
