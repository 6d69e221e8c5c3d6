// Small parts of the page.

export const byId = (id) => document.getElementById(id);

/** 0.8731 as "87.3 %". */
export const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)}\u202f%`;

/** Creates an element with a text; text is never parsed as HTML. */
export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** The name of a class, as one line; names may be blank and of any script. */
export const className = (labels, index) =>
  labels[index].replace(/\s+/gu, " ").trim() || `(class ${index})`;

/** Draws pixels, Uint8Array [H * W * C], on a canvas. */
export function paint(canvas, pixels, [height, width, channels]) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * at + channel] = pixels[at * channels + (channels === 3 ? channel : 0)];
    }
    image.data[4 * at + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
