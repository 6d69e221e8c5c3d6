"""The compiled step: rows of the global batch -> new weights, and what it measured."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from trainer import averages, distillation, shards
from trainer.augment import AlternatingFlip, augment, shrink
from trainer.choices import Precision
from trainer.cluster import Cluster
from trainer.config import Config
from trainer.images import Images, gather
from trainer.models import address
from trainer.models.address import Address
from trainer.models.layers import Dropout

METRICS = ("loss", "accuracy", "gradient_norm")  # of each step, over the global batch


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one call measured.

    Attributes:
        metrics: float [K, 3], a row a step, columns as in METRICS.
        rows: int32 [K, B], the rows that the replicas gathered, in replica order.
        asked: number of a signal that any worker received before the call, or 0.
        steps: fewest that any worker wished the next call to have, or 0.
    """

    metrics: np.ndarray
    rows: np.ndarray
    asked: int = 0
    steps: int = 0


@tf.autograph.experimental.do_not_convert
def _tell(wishes: tf.Tensor) -> tf.Tensor:
    """What every replica wishes, int32 [replicas, 2]."""
    return tf.distribute.get_replica_context().all_gather(wishes[None], axis=0)


class Trainer:
    """Runs steps of `model` on `images`; every replica holds the same variables."""

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        images: Images,
        *,
        small_steps: int = 0,
        flips: AlternatingFlip | None = None,
    ) -> None:
        self._config, self._cluster = config, cluster
        self._body, self._optimizer = model.get_layer("body"), optimizer
        self._normalise = model.get_layer("normalise")
        self._dropouts = [x for x in self._body.layers if isinstance(x, Dropout)]
        self._images, self._flips, self._small_steps = images, flips, small_steps
        self._share = config.global_batch // cluster.replicas
        self._gradients = self._forward_backward
        if config.jit_compile:  # of the whole replica step it fails on two CPU replicas
            self._gradients = tf.function(
                self._forward_backward, jit_compile=True, autograph=False
            )
        with cluster.strategy.scope():
            self._statistics = averages.of_statistics(self._body)
            self._weights = averages.of_weights(self._body, optimizer)
        self.compile()

    def compile(self) -> None:
        """Traces the call once, for any number of steps."""
        self._compiled = tf.function(self._steps).get_concrete_function(
            self._images.words,
            self._images.targets,
            tf.TensorSpec([None, self._config.global_batch], tf.int32),
            tf.TensorSpec([], tf.int64),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([2], tf.int32),
        )

    def __call__(
        self,
        step: int,
        rows: np.ndarray,
        rates: np.ndarray,
        wishes: tuple[int, int] = (0, 0),
    ) -> Outcome:
        """Runs steps `step`, `step` + 1, ... on `rows` int32 [K, B], `rates` [K].

        `wishes`, a signal's number and steps for the next call, are told to all
        workers, so that all stop and go on together.
        """
        metrics, gathered, told = self._compiled(
            self._images.words,
            self._images.targets,
            tf.constant(rows),
            tf.constant(step, tf.int64),
            tf.constant(rates),
            tf.constant(wishes, tf.int32),
        )
        asked, steps = told.numpy().max(0)[0], told.numpy().min(0)[1]
        return Outcome(metrics.numpy(), gathered.numpy(), int(asked), int(steps))

    @property
    def averages(self) -> list[averages.Average]:
        """What is shipped in the place of variables of the network."""
        return self._statistics + self._weights

    @property
    def body(self) -> keras.Model:
        """The network after normalisation."""
        return self._body

    def augmented(self, rows: np.ndarray) -> np.ndarray:
        """What the network sees of int32 rows [n] at step 0: float32 [n, H, W, C]."""
        local = self._cluster.strategy.experimental_local_results(self._images.words)[0]
        here = Address(
            self._config.seed, tf.zeros([], tf.int64), tf.zeros([], tf.int64)
        )
        return self._vary(local, tf.constant(rows), here).numpy()

    def _vary(self, words: tf.Tensor, rows: tf.Tensor, here: Address) -> tf.Tensor:
        """float32 [n, H, W, C]: images of dataset rows [n], augmented."""
        data, mirror = self._config.data, None
        if self._flips:
            number = here.step * self._config.global_batch + here.first
            mirror = self._flips(rows, number)
        pixels = gather(words, rows, self._images.shape)
        return augment(
            pixels, data.augment, here, crop_pixels=data.crop_pixels, mirror=mirror
        )

    @property
    def graph(self) -> tf.Graph:
        """Of the compiled call, for TensorBoard."""
        return self._compiled.graph

    def _steps(self, words, targets, rows, first_step, rates, wishes):
        """One call: a loop over steps, each on all replicas. Cross-replica context."""
        count = tf.shape(rows)[0]
        metrics = tf.TensorArray(self._body.variable_dtype, count)
        gathered = tf.TensorArray(tf.int32, count)
        for i in tf.range(count):
            self._optimizer.learning_rate.assign(rates[i])
            step = first_step + tf.cast(i, tf.int64)
            results = self._cluster.strategy.run(
                self._replica_step, args=(words, targets, rows[i], step)
            )
            # Every replica returns the same: sums and gathered rows are exchanged.
            measured, took = (
                self._cluster.strategy.experimental_local_results(r)[0] for r in results
            )
            metrics = metrics.write(i, measured)
            gathered = gathered.write(i, took)
        strategy = self._cluster.strategy
        told = strategy.experimental_local_results(strategy.run(_tell, args=(wishes,)))
        return metrics.stack(), gathered.stack(), told[0]

    @tf.autograph.experimental.do_not_convert
    def _replica_step(self, words, targets, rows, step):
        """This replica's share of a global batch, and the update all replicas make."""
        replica = tf.distribute.get_replica_context()
        first = replica.replica_id_in_sync_group * self._share
        mine = tf.ensure_shape(rows[first : first + self._share], [self._share])

        def measure(rows: tf.Tensor, first: tf.Tensor):
            return self._measure(words, targets, rows, step, first)

        if self._config.elastic_shards is None:
            sums, gradients, statistics = replica.all_reduce(
                tf.distribute.ReduceOp.SUM, measure(mine, first)
            )
        else:
            sums, gradients, statistics = shards.total(
                measure,
                mine,
                first,
                size=self._config.global_batch // self._config.elastic_shards,
                dtype=self._body.variable_dtype,
            )
        norm = self._update(gradients, statistics, step)
        measured = tf.concat([sums / self._config.global_batch, [norm]], 0)
        return measured, replica.all_gather(mine, axis=0)

    def batch(self, words, targets, mine, here):
        """What a replica learns from: float32 [n, H, W, C], and labels [n] in a tuple.

        Where there is a teacher, its logits [n, K] follow the labels.
        """
        varied = self._vary(words, mine, here)
        return varied, self._images.pick(targets, mine, here)

    def _measure(self, words, targets, rows, step, first):
        """What `_forward_backward` gives of `rows`, at `first` in the global batch."""
        count = rows.shape[0]
        here = Address(self._config.seed, step, tf.cast(first, tf.int64))
        varied, picked = self.batch(words, targets, rows, here)
        drawn = {d.name: d.draw(here, count) for d in self._dropouts}

        def gradients(images: tf.Tensor):
            return self._gradients(images, picked, step, here.first, drawn)

        if not self._small_steps:
            return gradients(varied)
        side = self._config.data.small_pixels
        return tf.cond(
            step < self._small_steps,  # small images first
            lambda: gradients(shrink(varied, side)),
            lambda: gradients(varied),
        )

    def _forward_backward(self, varied, picked, step, first, drawn):
        """Sums of loss and of right answers [2], gradients, batch statistics."""
        trained = [v.value for v in self._body.trainable_variables]
        with (
            address.at(Address(self._config.seed, step, first, drawn=drawn)) as here,
            tf.GradientTape() as tape,
        ):
            logits = self._body(self._normalise(varied), training=True)
            losses = self._losses(logits, *picked)
            loss = tf.reduce_sum(losses) / self._config.global_batch
            scaled = self._scale(loss)
        gradients = tape.gradient(scaled, trained)
        right = tf.equal(tf.argmax(logits, 1), picked[0])
        sums = tf.stack(
            [tf.reduce_sum(losses), tf.reduce_sum(tf.cast(right, losses.dtype))]
        )
        self._moved = [
            (variable, momentum) for variable, momentum, _ in here.statistics
        ]
        return sums, gradients, [value for _, _, value in here.statistics]

    def _losses(
        self, logits: tf.Tensor, labels: tf.Tensor, *taught: tf.Tensor
    ) -> tf.Tensor:
        """Cross-entropy [n]; label smoothing as in Szegedy et al. 2016.

        `taught` are the logits of a teacher, if there is one.
        """
        smoothing, classes = self._config.optim.label_smoothing, logits.shape[1]
        target = tf.one_hot(labels, classes, dtype=logits.dtype)
        target = target * (1 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        return distillation.blend(losses, logits, *taught, how=self._config.teacher)

    def _scale(self, loss: tf.Tensor) -> tf.Tensor:
        if self._config.precision is Precision.MIXED_FLOAT16:
            return self._optimizer.scale_loss(loss)
        return loss

    def _update(self, gradients, statistics, step) -> tf.Tensor:
        """Applies summed gradients; returns their norm before clipping, unscaled."""
        factor = tf.ones([], self._body.variable_dtype)
        if self._config.precision is Precision.MIXED_FLOAT16:
            factor = self._optimizer.scale_loss(factor)
        norm = tf.linalg.global_norm(gradients) / factor
        limit = self._config.optim.clip_norm
        if limit is not None:
            gradients, _ = tf.clip_by_global_norm(
                gradients, limit * factor, use_norm=norm * factor
            )
        self._optimizer.apply(gradients, self._body.trainable_variables)
        parts = self._config.elastic_shards or self._cluster.replicas
        shipped = {average.path: average for average in self._statistics}
        for (variable, momentum), total in zip(self._moved, statistics, strict=True):
            now = tf.cast(total / parts, variable.dtype)
            variable.assign(variable.value * momentum + now * (1 - momentum))
            shipped[variable.path].update(now, step)
        for weight, average in zip(
            self._body.trainable_variables, self._weights, strict=bool(self._weights)
        ):
            average.update(tf.convert_to_tensor(weight.value), step)
        return norm
