"""The loss of a student with the soft labels of a teacher (Hinton et al. 2015)."""

import tensorflow as tf

from trainer.config.schema import DistillationConfig


def distillation_loss(
    losses: tf.Tensor,
    logits: tf.Tensor,
    taught: tf.Tensor | None = None,
    *,
    how: DistillationConfig,
) -> tf.Tensor:
    """Computes (1 - w) * `losses` + w * T^2 * KL(teacher || student), both at T: [n].

    The factor T^2 keeps the gradient equally large for every temperature (section 2).

    Args:
        losses: cross-entropy of the labels, [n].
        logits, taught: logits [n, K] of the student and of the teacher; None: no
            teacher.
        how: the config with weight w and temperature T.
    """
    if taught is None:
        return losses
    student = logits / how.temperature
    teacher = tf.cast(taught, logits.dtype) / how.temperature
    target = tf.nn.softmax(teacher)
    entropy = tf.nn.softmax_cross_entropy_with_logits(target, teacher)
    cross = tf.nn.softmax_cross_entropy_with_logits(target, student)
    divergence = how.temperature**2 * (cross - entropy)
    return (1 - how.weight) * losses + how.weight * divergence
