"""Data sets: our own TFDS builders, and splits in memory.

Importing this package registers our own builders (``digits``) with TFDS::

    import trainer.datasets
    tfds.builder("digits").download_and_prepare()
"""

from trainer.datasets import digits as digits
from trainer.datasets import literal as literal
from trainer.datasets.split import Split as Split
from trainer.datasets.split import load as load
from trainer.datasets.split import locate as locate
