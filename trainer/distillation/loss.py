"""The loss of a student: labels, and the answers of a teacher (Hinton et al. 2015)."""

import tensorflow as tf

from trainer.config.schema import DistillationConfig


def distillation_loss(
    losses: tf.Tensor,
    logits: tf.Tensor,
    taught: tf.Tensor | None = None,
    *,
    how: DistillationConfig,
) -> tf.Tensor:
    """(1 - w) * `losses` + w * T^2 * KL(teacher || student at temperature T), [n].

    T^2 keeps the size of the gradient the same for every temperature (section 2 there).

    Args:
        losses: [n], of the labels.
        logits, taught: [n, K], of the student and of the teacher; None: no teacher.
        how: weight and temperature.
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
