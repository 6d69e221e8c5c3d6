"""Lists the commands of this package: python -m eval."""

from trainer.cli import command_list

command_list.show(
    "eval",
    {
        "report": "evaluates a run or a model file on its test split; writes a page",
        "compare": "compares runs or model files on one test split",
        "predict": "classifies image files by a run or a model file",
        "data": "inspects the images of a data set before a training",
    },
)
