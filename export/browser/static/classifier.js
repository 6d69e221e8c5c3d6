// The network: pixels to probabilities, by LiteRT.js.

import { Tensor, loadAndCompile, loadLiteRt } from "./litert/core.js";

export class Classifier {
  /** Loads the network that `manifest` describes. */
  static async load(manifest) {
    const { model, runtime } = manifest.page;
    await loadLiteRt(`./litert/${runtime.loader}`);
    const compiled = await loadAndCompile(`./${model}`, { accelerator: "wasm" });
    return new Classifier(compiled, manifest);
  }

  constructor(compiled, manifest) {
    this.compiled = compiled;
    this.shape = [1, ...manifest.image_shape];
    this.step = manifest.page.output_step;
  }

  /** Probabilities, Float32Array [K], of one image, Uint8Array [H * W * C]. */
  async classify(pixels) {
    const input = new Tensor(pixels, this.shape);
    const outputs = await this.compiled.run([input]);
    try {
      const raw = await outputs[0].data();
      return Float32Array.from(raw, (value) => (this.step ? value * this.step : value));
    } finally {
      input.delete();
      outputs.forEach((output) => output.delete());
    }
  }
}

/** The class with the largest probability; the lower one of equal ones. */
export function mostLikely(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}
