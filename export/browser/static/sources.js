// Where pictures come from: dropped, pasted and chosen files, and the webcam.

import { byId } from "./elements.js";
import { UnreadableImage, decode, draw } from "./pixels.js";

const FRAME_MS = 120; // between two frames of the webcam

/**
 * Calls `onPicture(canvas, live)` for each picture and `onError(message)` for what is
 * none. Of several files the first is taken.
 */
export function listen(onPicture, onError) {
  const take = async (file) => {
    if (!file) {
      onError("That is no picture file.");
      return;
    }
    try {
      await onPicture(await decode(file), false);
    } catch (error) {
      if (!(error instanceof UnreadableImage)) throw error;
      onError(`${file.name || "The picture"} cannot be classified: ${error.message}.`);
    }
  };
  const webcam = new Webcam(onPicture, onError);
  const takeOne = (files) => {
    webcam.stop();
    return take(files[0]);
  };
  listenToFiles(takeOne);
  byId("webcam").addEventListener("click", () => webcam.toggle());
  byId("file").disabled = byId("webcam").disabled = false;
  return webcam;
}

function listenToFiles(takeOne) {
  byId("file").addEventListener("change", (event) => {
    const { files } = event.target;
    if (files.length) takeOne([...files]);
    event.target.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) takeOne(event.clipboardData.files);
  });
  const drop = byId("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // a file that is dropped elsewhere would replace the page
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeOne(event.dataTransfer.files);
  });
}

class Webcam {
  constructor(onPicture, onError) {
    this.onPicture = onPicture;
    this.onError = onError;
    this.stream = null;
  }

  toggle() {
    return this.stream ? this.stop() : this.start();
  }

  async start() {
    const video = byId("video"), button = byId("webcam");
    if (!navigator.mediaDevices) {
      this.onError("Browsers show a webcam to pages of HTTPS and of this machine only.");
      return;
    }
    button.disabled = true; // until the user has answered
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment" },
      });
    } catch (error) {
      this.onError(`The webcam cannot be used: ${error.message}.`);
      return;
    } finally {
      button.disabled = false;
    }
    video.srcObject = this.stream;
    video.hidden = false;
    button.textContent = "Stop the webcam";
    button.setAttribute("aria-pressed", "true");
    await video.play();
    this.classifyFrames(this.stream, video);
  }

  async classifyFrames(stream, video) {
    while (this.stream === stream && stream.active) {
      if (video.videoWidth) {
        await this.onPicture(draw(video, video.videoWidth, video.videoHeight), true);
      }
      await new Promise((resolve) => setTimeout(resolve, FRAME_MS));
    }
    if (this.stream === stream) this.stop();
  }

  stop() {
    if (!this.stream) return;
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = null;
    byId("video").srcObject = null;
    byId("video").hidden = true;
    byId("webcam").textContent = "Use the webcam";
    byId("webcam").setAttribute("aria-pressed", "false");
  }
}
