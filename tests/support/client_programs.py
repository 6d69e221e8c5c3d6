"""Programs of foreign clients, run by an interpreter that has their packages alone.

    python client_programs.py CLIENT MODEL.tflite IMAGES.npy PROBABILITIES.npy

Nothing of this project is imported: a client knows the file and what lies inside it.
"""

import sys

import numpy as np


def mediapipe(model: str, images: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] as MediaPipe's ImageClassifier reads the file's metadata."""
    import zipfile

    import mediapipe as mp

    labels = zipfile.ZipFile(model).read("labels.txt").decode().splitlines()
    options = mp.tasks.vision.ImageClassifierOptions(
        base_options=mp.tasks.BaseOptions(model_asset_path=model)
    )
    found = np.zeros((len(images), len(labels)), np.float32)
    with mp.tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        for row, pixels in enumerate(images):
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=pixels)
            (head,) = classifier.classify(image).classifications
            for category in head.categories:
                found[row, labels.index(category.category_name)] = category.score
    return found


def openvino(model: str, images: np.ndarray) -> np.ndarray:
    """Probabilities [N, K] as OpenVINO computes them on the CPU in float32."""
    import openvino as ov

    core = ov.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model), "CPU", exact)
    source, sink = compiled.input(0), compiled.output(0)
    rows = []
    for pixels in images:
        given = pixels[None]
        if source.element_type == ov.Type.f32:  # docs/export.md: what float inputs take
            given = (given.astype(np.float32) - 128) / 128
        rows.append(compiled([given])[sink][0])
    found = np.array(rows)
    return found / 256 if found.dtype == np.uint8 else found


if __name__ == "__main__":
    client, path, source_file, target = sys.argv[1:]
    run = {"mediapipe": mediapipe, "openvino": openvino}[client]
    np.save(target, run(path, np.load(source_file)))
