// "I don't know": below a threshold of the manifest the network's answer is not given.

import { byId, element } from "./elements.js";

export class Abstention {
  /** Offers the thresholds of `manifest`; `onChange()` is called for each choice. */
  constructor(manifest, onChange) {
    this.entries = manifest.abstain ?? {}; // exports of older releases have none
    this.choice = byId("abstain");
    const targets = Object.keys(this.entries);
    this.choice.append(...targets.map((key) => {
      const option = element("option", this.describe(key));
      option.value = key;
      option.disabled = this.entries[key].threshold === null;
      return option;
    }));
    byId("abstention").hidden = targets.length === 0;
    this.choice.addEventListener("change", () => {
      this.explain();
      onChange();
    });
    this.explain();
  }

  describe(key) {
    const percent = Math.round(100 * Number(key));
    const { threshold } = this.entries[key];
    return threshold === null
      ? `${percent} % right: no threshold`
      : `only if ${percent} % of these are right`;
  }

  /** Whether the answer is given. */
  answers(probabilities) {
    const entry = this.entries[this.choice.value];
    return entry === undefined || Math.max(...probabilities) >= entry.threshold;
  }

  explain() {
    const entry = this.entries[this.choice.value];
    const lost = Object.entries(this.entries).filter(([, one]) => one.threshold === null);
    const [, first] = lost[0] ?? [];
    byId("abstain-text").textContent = entry?.guarantee ?? first?.guarantee ?? "";
  }
}
