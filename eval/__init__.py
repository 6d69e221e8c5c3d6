"""Any model file to probabilities, to figures, to a report one can trust.

Synopsis:

    import numpy as np
    from eval.metrics import classification

    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.8, 0.2]])
    labels = np.array([0, 1, 1])
    classification.accuracy(probabilities, labels)  # 2 of 3
    classification.nll(probabilities, labels)  # 0.826

On the command line: `python -m eval.report` and `python -m eval.compare A B`.
"""
