// A picture becomes the pixels that the network takes: the rules of
// trainer/data/preprocessing.py, whose resampling is that of Pillow's bilinear filter.
// The arithmetic is the same to the last bit, so that the pixels are equal.

const PRECISION = 22; // bits of a weight, as in Pillow's Resample.c
const GREY = 128; // around a letterboxed picture
const BACKGROUND = "#fff"; // under what is transparent

/** A picture that cannot be used; the message says why. */
export class UnreadableImage extends Error {}

/**
 * Decodes a file to a canvas: its first frame, upright, on white.
 *
 * The browser turns it by its EXIF orientation; profiles of colour are not applied,
 * as they are not in training.
 */
export async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new UnreadableImage("this browser cannot read it as a picture");
  }
  try {
    return draw(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** Draws a bitmap or a frame of a video on a new canvas, on white. */
export function draw(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!width || !height || !context) {
    throw new UnreadableImage(`${width} x ${height} pixels cannot be drawn`);
  }
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return canvas;
}

/** The pixels of a canvas, as `spec` of the manifest asks: Uint8Array [H * W * C]. */
export function preprocess(canvas, spec) {
  const { width, height } = canvas;
  let read;
  try {
    read = canvas.getContext("2d").getImageData(0, 0, width, height);
  } catch {
    throw new UnreadableImage(`${width} x ${height} pixels are too many for this browser`);
  }
  return resize(flatten(read, spec.channels), spec).data;
}

/** Grey (ITU-R 601-2 luma, as Pillow computes it) or RGB of RGBA. */
export function flatten({ data, width, height }, channels) {
  const pixels = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; to < pixels.length; from += 4) {
    const red = data[from], green = data[from + 1], blue = data[from + 2];
    if (channels === 1) {
      pixels[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      pixels[to++] = red;
      pixels[to++] = green;
      pixels[to++] = blue;
    }
  }
  return { data: pixels, width, height, channels };
}

/** Brings an image to the height and width of `spec`. */
export function resize(image, spec) {
  if (image.width === spec.width && image.height === spec.height) return image;
  const across = spec.width / image.width, down = spec.height / image.height;
  if (spec.resize === "squash") {
    return resample(image, [0, 0, image.width, image.height], spec.width, spec.height);
  }
  if (spec.resize === "letterbox") return letterbox(image, spec, Math.min(across, down));
  if (spec.resize !== "crop") throw new Error(`unknown resize: ${spec.resize}`);
  const scale = Math.max(across, down);
  const width = Math.min(spec.width / scale, image.width);
  const height = Math.min(spec.height / scale, image.height);
  const left = (image.width - width) / 2, top = (image.height - height) / 2;
  const right = Math.min(left + width, image.width);
  const bottom = Math.min(top + height, image.height);
  return resample(image, [left, top, right, bottom], spec.width, spec.height);
}

function letterbox(image, spec, scale) {
  const fit = (side, limit) => Math.min(limit, Math.max(1, roundHalfEven(side * scale)));
  const width = fit(image.width, spec.width), height = fit(image.height, spec.height);
  const inner = resample(image, [0, 0, image.width, image.height], width, height);
  const { channels } = image;
  const data = new Uint8Array(spec.width * spec.height * channels).fill(GREY);
  const left = Math.floor((spec.width - width) / 2);
  const top = Math.floor((spec.height - height) / 2);
  const line = width * channels;
  for (let y = 0; y < height; y++) {
    const to = ((top + y) * spec.width + left) * channels;
    data.set(inner.data.subarray(y * line, (y + 1) * line), to);
  }
  return { data, width: spec.width, height: spec.height, channels };
}

/** As Python rounds. */
function roundHalfEven(value) {
  const below = Math.floor(value), rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/** Resamples a box [left, top, right, bottom] to a width and height: columns, then rows. */
function resample(image, [left, top, right, bottom], width, height) {
  const { channels } = image;
  const narrow = new Uint8Array(width * image.height * channels);
  filter(image.data, narrow, weigh(image.width, left, right, width), {
    lines: image.height, lineFrom: image.width * channels, lineTo: width * channels,
    step: channels, channels,
  });
  const data = new Uint8Array(width * height * channels);
  const line = width * channels;
  filter(narrow, data, weigh(image.height, top, bottom, height), {
    lines: width, lineFrom: channels, lineTo: channels, step: line, channels,
  });
  return { data, width, height, channels };
}

/**
 * The weights of Pillow's bilinear filter: for each of `count` outputs the first input
 * and whole numbers that add up to about 2 ** PRECISION.
 */
function weigh(size, start, end, count) {
  const first = Math.fround(start); // Pillow takes a box of single precision
  const scale = Math.fround(Math.fround(end) - first) / count;
  const stretch = Math.max(scale, 1);
  const weights = [];
  for (let output = 0; output < count; output++) {
    const centre = first + (output + 0.5) * scale;
    const from = Math.max(Math.trunc(centre - stretch + 0.5), 0);
    const to = Math.min(Math.trunc(centre + stretch + 0.5), size);
    const shares = [];
    let sum = 0;
    for (let input = from; input < to; input++) {
      const distance = Math.abs((input - centre + 0.5) * (1 / stretch));
      shares.push(distance < 1 ? 1 - distance : 0);
      sum += shares[shares.length - 1];
    }
    const whole = shares.map((share) =>
      Math.trunc(0.5 + (sum ? share / sum : share) * (1 << PRECISION)));
    weights.push({ from, whole: Int32Array.from(whole) });
  }
  return weights;
}

/** Applies weights along one side; `step` is the distance of two inputs of a line. */
function filter(source, sink, weights, { lines, lineFrom, lineTo, step, channels }) {
  for (let line = 0; line < lines; line++) {
    for (let output = 0; output < weights.length; output++) {
      const { from, whole } = weights[output];
      for (let channel = 0; channel < channels; channel++) {
        let sum = 1 << (PRECISION - 1);
        let at = line * lineFrom + from * step + channel;
        for (let n = 0; n < whole.length; n++, at += step) sum += source[at] * whole[n];
        sink[line * lineTo + output * step + channel] = sum >> PRECISION;
      }
    }
  }
}

/** Whether this browser changes the pixels that a page reads, against fingerprints. */
export function changesPixels() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const written = context.createImageData(16, 16);
  written.data.forEach((_, at) => {
    written.data[at] = at % 4 === 3 ? 255 : (at * 151) % 256;
  });
  context.putImageData(written, 0, 0);
  const read = context.getImageData(0, 0, 16, 16).data;
  return written.data.some((value, at) => value !== read[at]);
}
