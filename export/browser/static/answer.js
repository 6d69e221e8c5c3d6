// Shows what the network answers: a line that screen readers speak, pictures and bars.

import { Abstention } from "./abstention.js";
import { mostLikely } from "./classifier.js";
import { byId, className, element, paint, percent } from "./elements.js";

const BARS = 5; // classes with a bar; up to twice as many are all shown
const SPEECH_MS = 2000; // a webcam's answers change faster than they can be read out

export class Answer {
  constructor(manifest) {
    this.abstention = new Abstention(manifest, () => this.repeat());
    this.last = null;
    this.labels = manifest.labels;
    this.shape = manifest.image_shape;
    this.spoken = -Infinity;
    if (manifest.temperature === "uncalibrated") {
      byId("bars-heading").textContent = "Probabilities (uncalibrated)";
    } else {
      byId("bars-heading").textContent = "Calibrated probabilities";
    }
  }

  /**
   * Shows an answer.
   *
   * `picture` is a canvas, or null if the network saw just these pixels; `known` is the
   * class of a test image; `live` says that the next frame of a webcam follows.
   */
  show({ pixels, picture = null, probabilities, known = null, live = false }) {
    byId("result").hidden = false;
    paint(byId("seen"), pixels, this.shape);
    byId("picture").parentElement.hidden = picture === null;
    if (picture !== null) copy(byId("picture"), picture);
    this.showBars(probabilities);
    this.last = { probabilities, known };
    const now = performance.now();
    if (live && now - this.spoken < SPEECH_MS) return;
    this.spoken = now;
    this.say(probabilities, known);
    if (!live) byId("answer").scrollIntoView({ block: "nearest" });
  }

  /** Says the last answer again, as another threshold was chosen. */
  repeat() {
    if (this.last !== null) this.say(this.last.probabilities, this.last.known);
  }

  say(probabilities, known) {
    const best = mostLikely(probabilities), line = byId("answer");
    const name = element("bdi", className(this.labels, best));
    if (!this.abstention.answers(probabilities)) {
      line.replaceChildren("I don't know: perhaps ", name, `, ${percent(probabilities[best])}`);
      if (known !== null) {
        line.append(" (it is ", element("bdi", className(this.labels, known)), ")");
      }
      return;
    }
    line.replaceChildren(name, `, ${percent(probabilities[best])}`);
    if (known === null) return;
    if (known === best) {
      line.append(" ", element("span", "(right)", "right"));
    } else {
      const note = element("span", "(wrong: it is ", "wrong");
      note.append(element("bdi", className(this.labels, known)), ")");
      line.append(" ", note);
    }
  }

  showBars(probabilities) {
    const order = [...probabilities.keys()];
    order.sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const shown = order.length > 2 * BARS ? order.slice(0, BARS) : order;
    byId("bars").replaceChildren(...shown.map((index) => {
      const item = element("li"), bar = element("div", "", "bar"), inner = element("div");
      const name = element("span");
      name.append(element("bdi", className(this.labels, index)));
      inner.style.width = `${100 * Math.min(probabilities[index], 1)}%`;
      bar.append(inner);
      item.append(name, element("span", percent(probabilities[index])), bar);
      return item;
    }));
  }

  /** Says why there is no answer. */
  refuse(reason) {
    this.last = null;
    byId("result").hidden = true;
    byId("answer").replaceChildren(element("span", reason, "wrong"));
  }
}

/** Copies a canvas, at most 600 pixels wide and high. */
function copy(canvas, picture) {
  const scale = Math.min(1, 600 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
}
