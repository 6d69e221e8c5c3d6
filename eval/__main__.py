"""Lists the commands of this package: python -m eval."""

from trainer.cli import command_list

command_list.show(
    "eval",
    {
        "report": "evaluates a run or a model file on its test split; writes a page",
        "compare": "compares runs, model files or studies on the same images",
        "predict": "classifies image files by a run or a model file",
        "data": "inspects the images of a data set before a training",
        "study": "writes the page of a study of many runs",
    },
)
