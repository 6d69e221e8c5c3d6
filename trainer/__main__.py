"""Lists the commands of this package: python -m trainer."""

from trainer.cli import command_list

command_list.show(
    "trainer",
    {
        "main": "trains a network on a data set or a folder of images; resumes a run",
        "prepare": "prepares a data set or a folder of images once; lists what is kept",
        "recheck": "replays steps of a run and compares the hashes",
    },
)
