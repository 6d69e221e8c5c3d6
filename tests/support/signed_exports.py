"""Keys, and the manifest of an export that can be signed."""

import pathlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

MANIFEST = {
    "file": "model_int8.tflite",
    "created": "2026-11-27 10:51:34 UTC",
    "packages": {"tensorflow": "2.21.0", "ai-edge-litert": "2.3.0"},
    "sha256": "a" * 64,
    "run": "a run",
    "step": 608,
    "config": {"model": {"name": "cnn"}, "distillation": {"teacher_sha256": "b" * 64}},
    "weights_sha256": "c" * 64,
    "data": "digits/1.0.0",
    "data_sha256": {"train": "d" * 64, "test": "e" * 64},
    "test_data": "other digits",
    "test_split": "test",
    "test_sha256": "f" * 64,
    "image_shape": [32, 32, 3],
    "scheme": "int8",
    "temperature": "uncalibrated",
    "io": {"input": "uint8", "output": "uint8", "output_is": "probabilities"},
    "test": {
        "images": 360,
        "split": "test",
        "accuracy": 0.95,
        "accuracy_interval": [0.92, 0.97],
    },
}

PEM, PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat
OPENSSL = serialization.PrivateFormat.TraditionalOpenSSL


def write_keys(folder: pathlib.Path, name: str, private=None, password=None) -> None:
    """NAME.pem and NAME.pub in `folder`."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    lock = serialization.NoEncryption()
    if password:
        lock = serialization.BestAvailableEncryption(password)
    content = private.private_bytes(PEM, OPENSSL, lock)
    (folder / f"{name}.pem").write_bytes(content)
    public = private.public_key().public_bytes(PEM, PUBLIC.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)
