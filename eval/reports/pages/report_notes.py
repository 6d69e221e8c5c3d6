"""Notes of a report: what a reader needs before the numbers, and what was evaluated."""

from collections.abc import Mapping
from typing import Any

from eval.predictors import engine
from trainer.config.enums import EvalTta
from trainer.config.serialization import misfit
from trainer.models import evaluator


def list_notes(report: Mapping[str, Any]) -> list[str]:
    """Collects notes that a reader needs before the numbers."""
    tta, notes = EvalTta(report["eval_tta"]), []
    if report["data"].get("kind") == "validation":
        notes.append(
            "These images are validation rows, not the test split, which stays closed:"
            " a run that was chosen by them looks better than it is."
        )
    if tta is not EvalTta.NONE:
        notes.append(
            f"Every score here is{tta.words}: a mean over {evaluator.count_views(tta)} "
            "views of each image. Exported files do not do that by themselves; their "
            "scores are those of a report without it."
        )
    notes += [f"{line}." for line in report["remarks"]]
    notes += training_note(report, tta)
    if report["calibration"]["state"] == "uncalibrated":
        notes.append(report["calibration"]["why"])
    return notes


def training_note(report: Mapping[str, Any], tta: EvalTta) -> list[str]:
    """Notes the test accuracy that the training recorded, if it differs."""
    result = (report["run"] or {}).get("result") or {}
    same_step = result.get("steps") == report["model"]["step"]
    if not (same_step and report["data"]["same_as_trained"]):
        return []
    kinds = [member.value for member in EvalTta]
    if misfit(result, {"test_accuracy": float}) or (
        result.get("eval_tta", EvalTta.NONE.value) not in kinds
    ):
        return []  # the result is damaged
    noted = EvalTta(result.get("eval_tta", EvalTta.NONE.value))
    known = f"The training recorded {result['test_accuracy']:.2%}{noted.words}"
    if noted is not tta:
        plain = "" if noted.words else " without test-time augmentation"
        return [f"{known}{plain} on these images."]
    if result["test_accuracy"] != report["scores"]["accuracy"]:
        return [
            f"{known} on these images: another machine or version rounds differently."
        ]
    return []


def list_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lists what was evaluated, on what, and by which program."""
    model, data = report["model"], report["data"]
    rule = (
        "as given, or as its last operator or manifest says"
        if model["output_was_given"]
        else "found by looking at every output"
    )
    outputs = None if model["kind"] == "checkpoint" else f"{model['output']} ({rule})"
    trained = data["trained_on"] or {}
    rows = [
        ("model", model["path"]),
        ("model SHA-256", model["sha256"]),
        ("step", model["step"]),
        ("outputs", outputs),
        ("computed by", engine.format_engine(report["engine"])),
        ("test-time augmentation", report["eval_tta"]),
        ("data", f"{data['dataset']}, {data['split']}: {data['images']:,} images"),
        ("data SHA-256", data["sha256"]),
        *((f"trained with ({k}) SHA-256", v) for k, v in trained.items()),
        ("calibration", report["calibration"]["why"]),
    ]
    return [(name, str(value)) for name, value in rows if value is not None]
