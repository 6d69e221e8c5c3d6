"""Evaluation of image classifiers: probabilities, metrics with intervals, reports.

Synopsis:

    import numpy as np
    from eval.metrics import classification

    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.8, 0.2]])
    labels = np.array([0, 1, 1])
    classification.accuracy(probabilities, labels)  # 2 of 3
    classification.nll(probabilities, labels)  # 0.826

On the command line: `python -m eval.report` and `python -m eval.compare A B`.
"""

import trainer.contract  # noqa: F401  handles Ctrl-C while a command is imported
