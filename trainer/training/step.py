"""The compiled training step: computes new weights and metrics from a global batch.

One call of `TrainStep` runs a block of steps in compiled functions. A step takes its
images (see trainer.data.device_dataset), augments them, runs the network forward and
backward, sums over all replicas, and updates the weights.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config.enums import Precision
from trainer.config.schema import Config
from trainer.data.augmentation import mixing
from trainer.data.augmentation.crops import AlternatingFlip
from trainer.data.augmentation.pipeline import augment
from trainer.data.augmentation.resizing import area_resize
from trainer.data.device_dataset import DeviceDataset, PixelSource
from trainer.distillation.loss import distillation_loss
from trainer.distributed import reduction
from trainer.distributed.strategy import Cluster
from trainer.models.context import ForwardContext, forward_context
from trainer.optim import averages
from trainer.optim.layer_rates import LayerRates
from trainer.rng import RandomStream

METRICS = ("loss", "accuracy", "gradient_norm")  # of a step, over the global batch
Targets = tf.Tensor | tuple[tf.Tensor, ...]
Gradients = tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class StepOutput:
    """Results of a block of K steps.

    Attributes:
        metrics: float [K, 3], a row for each step, columns as in METRICS.
        rows: int32 [K, B], the rows that the replicas gathered, in replica order.
    """

    metrics: np.ndarray
    rows: np.ndarray


class TrainStep:
    """Runs training steps of `model`; every replica holds the same variables.

    Args:
        config: batch size, augmentation, loss and precision.
        cluster: the replicas.
        model: a model with layers "normalise" and "body".
        optimizer: the optimizer of the body's trainable variables.
        images: the training split on every device.
        small_steps: number of first steps with images of `progressive_size`.
        flips: decides which images are mirrored; None: drawn at random.
        class_weights: float [K], factor on the loss of each class's examples; None: 1.
        layer_rates: layers that the optimizer treats unlike others; None: there are
            none.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        images: DeviceDataset,
        *,
        small_steps: int = 0,
        flips: AlternatingFlip | None = None,
        class_weights: np.ndarray | None = None,
        layer_rates: LayerRates | None = None,
    ) -> None:
        self._config, self._cluster = config, cluster
        self._body, self._optimizer = model.get_layer("body"), optimizer
        self._normalise = model.get_layer("normalise")
        self._dropouts = [x for x in self._body.layers if hasattr(x, "draw_numbers")]
        self._rates = layer_rates or LayerRates()
        self._moving = [
            (variable, layer)
            for layer in self._body.layers
            for variable in getattr(layer, "moving", ())
        ]
        self._images, self._flips, self._small_steps = images, flips, small_steps
        self._class_weights = class_weights
        self._share = config.global_batch // cluster.replicas
        self._compute_gradients = self._maybe_jit(self._forward_backward)
        self._compute_frozen = self._maybe_jit(
            functools.partial(self._forward_backward, frozen=self._rates.frozen_layers)
        )
        with cluster.strategy.scope():
            self._statistics = averages.average_statistics(self._body)
            self._weights = averages.average_weights(self._body, optimizer)
        self.compile()

    def compile(self) -> None:
        """Traces the function of a block once, for any number of steps."""
        self._compiled = tf.function(self._run_block).get_concrete_function(
            self._images.pixels.spec,
            self._images.targets,
            tf.TensorSpec([None, self._config.global_batch], tf.int32),
            tf.TensorSpec([], tf.int64),
            tf.TensorSpec([None], tf.float32),
        )

    def _maybe_jit(
        self, function: Callable[..., Gradients]
    ) -> Callable[..., Gradients]:
        if not self._config.jit_compile:
            return function
        # The whole replica step fails on two CPU replicas.
        return tf.function(function, jit_compile=True, autograph=False)

    def __call__(self, step: int, rows: np.ndarray, rates: np.ndarray) -> StepOutput:
        """Runs K steps from `step` on, with `rows` int32 [K, B] and `rates` [K]."""
        outputs, done = [], 0
        for pixels, count in self._images.pixels.calls(step, rows):
            now = slice(done, done + count)
            number = step + done + 1  # marks the step in a profile
            with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
                found = self._compiled(
                    pixels,
                    self._images.targets,
                    tf.constant(rows[now]),
                    tf.constant(step + done, tf.int64),
                    tf.constant(rates[now]),
                )
            outputs.append([tensor.numpy() for tensor in found])
            done += count
        metrics, gathered = (np.concatenate(x) for x in zip(*outputs, strict=True))
        return StepOutput(metrics, gathered)

    @property
    def graph(self) -> tf.Graph:
        """The graph of the compiled block."""
        return self._compiled.graph

    @property
    def averages(self) -> list[averages.Average]:
        """The averages that are shipped instead of variables of the network."""
        return self._statistics + self._weights

    @property
    def pixels(self) -> PixelSource:
        """Where the pixels come from."""
        return self._images.pixels

    @property
    def body(self) -> keras.Model:
        """The network after normalisation."""
        return self._body

    def augmented(self, rows: np.ndarray, count: int | None = None) -> np.ndarray:
        """Augments the first images of a global batch as at step 0.

        Args:
            rows: int32 [B], the rows of the global batch.
            count: number of images, at most B; None: all.

        Returns:
            Float32 [count, H, W, C].
        """
        count = len(rows) if count is None else count
        load, zero = self._images.pixels.load, tf.zeros([], tf.int64)
        stream, everyone = (
            RandomStream(self._config.seed, zero, zero),
            tf.constant(rows),
        )
        images = self._augment(load(rows[:count]), everyone[:count], stream)
        if self._config.data.mixes:
            partners = self._partners(everyone, stream, count)
            theirs = load(rows[len(rows) - count :])
            images, _ = self._mix(theirs, images, stream, partners)
        return images.numpy()

    def _run_block(
        self,
        pixels: tf.Tensor,
        targets: Targets,
        rows: tf.Tensor,
        first_step: tf.Tensor,
        rates: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs the steps of a block on all replicas, in cross-replica context."""
        strategy, count = self._cluster.strategy, tf.shape(rows)[0]
        metrics = tf.TensorArray(self._body.variable_dtype, count)
        gathered = tf.TensorArray(tf.int32, count)
        for i in tf.range(count):
            self._optimizer.learning_rate.assign(rates[i])
            step = first_step + tf.cast(i, tf.int64)
            self._rates.begin(step)
            results = strategy.run(
                self._replica_step, args=(pixels, targets, rows[i], step, i)
            )
            # Sums and gathered rows are exchanged, so every replica returns the same.
            measured, took = (
                strategy.experimental_local_results(result)[0] for result in results
            )
            metrics = metrics.write(i, measured)
            gathered = gathered.write(i, took)
        return metrics.stack(), gathered.stack()

    @tf.autograph.experimental.do_not_convert
    def _replica_step(
        self,
        pixels: tf.Tensor,
        targets: Targets,
        rows: tf.Tensor,
        step: tf.Tensor,
        index: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the share of this replica, and the update that all replicas make."""
        replica, source = tf.distribute.get_replica_context(), self._images.pixels
        start = replica.replica_id_in_sync_group * self._share
        mine = tf.ensure_shape(rows[start : start + self._share], [self._share])
        own, batch = source.of_step(pixels, index), rows

        def measure(rows: tf.Tensor, first: tf.Tensor) -> Gradients:
            stream = RandomStream(self._config.seed, step, tf.cast(first, tf.int64))
            part = source.part(own, first - start, rows.shape[0])
            images, learnt = self.batch(part, targets, rows, stream)
            if self._config.data.mixes:
                partners = self._partners(batch, stream, rows.shape[0])
                theirs = source.partners(own, first - start, rows.shape[0])
                images, share = self._mix(theirs, images, stream, partners)
                others, *_ = self._images.gather_targets(targets, *partners)
                # ReverseV2 has no GPU kernel for int64.
                others = tf.gather(others, tf.range(rows.shape[0])[::-1])
                learnt = (*learnt, others, share)
            return self._gradients(images, learnt, stream)

        sums, gradients, statistics = self._reduce(measure, mine, start)
        norm = self._update(gradients, statistics, step)
        measured = tf.concat([sums / self._config.global_batch, [norm]], 0)
        return measured, replica.all_gather(mine, axis=0)

    def batch(
        self,
        pixels: tf.Tensor,
        targets: Targets,
        rows: tf.Tensor,
        stream: RandomStream,
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Gathers and augments a batch: float32 [n, H, W, C], and labels ([n],).

        If there is a teacher, its logits [n, K] follow the labels.
        """
        images = self._augment(pixels, rows, stream)
        return images, self._images.gather_targets(targets, rows, stream)

    def _augment(
        self, pixels: tf.Tensor, rows: tf.Tensor, stream: RandomStream
    ) -> tf.Tensor:
        """Gathers and augments the images of dataset rows [n]: float32 [n, H, W, C]."""
        data, mirror = self._config.data, None
        if self._flips:
            number = stream.step * self._config.global_batch + stream.first
            mirror = self._flips(rows, number)
        images = self._images.pixels.decode(pixels, rows)
        return augment(images, data, stream, mirror=mirror)

    def _partners(
        self, rows: tf.Tensor, stream: RandomStream, count: int
    ) -> tuple[tf.Tensor, RandomStream]:
        """Finds the partners of `count` examples, from the last one's to the first's.

        Args:
            rows: int32 [B], the rows of the global batch.
            stream: position of the examples.
            count: number of examples.

        Returns:
            Rows of the partners, int32 [count], and their position.
        """
        first = mixing.first_partner(stream.first, count, self._config.global_batch)
        theirs = tf.ensure_shape(rows[first : first + count], [count])
        return theirs, dataclasses.replace(stream, first=first)

    def _mix(
        self,
        pixels: tf.Tensor,
        images: tf.Tensor,
        stream: RandomStream,
        partners: tuple[tf.Tensor, RandomStream],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mixes augmented images [n, H, W, C] with `partners`; also returns shares.

        `pixels` are those of the partners.
        """
        whole = images.shape[0] == self._config.global_batch
        others = images if whole else self._augment(pixels, *partners)
        return mixing.mix(images, tf.reverse(others, [0]), self._config.data, stream)

    def _gradients(
        self, images: tf.Tensor, targets: tuple[tf.Tensor, ...], stream: RandomStream
    ) -> Gradients:
        """Computes gradients, in the first steps on smaller images or of few layers."""
        count = images.shape[0]
        masks = {d.name: d.draw_numbers(stream, count) for d in self._dropouts}

        def compute(images: tf.Tensor) -> Gradients:
            if not self._rates.frozen_steps:
                return self._compute_gradients(images, targets, masks)
            return tf.cond(
                stream.step < self._rates.frozen_steps,
                lambda: self._compute_frozen(images, targets, masks),
                lambda: self._compute_gradients(images, targets, masks),
            )

        if not self._small_steps:
            return compute(images)
        side = self._config.data.progressive_size
        return tf.cond(
            stream.step < self._small_steps,
            lambda: compute(area_resize(images, side)),
            lambda: compute(images),
        )

    def _forward_backward(
        self,
        images: tf.Tensor,
        targets: tuple[tf.Tensor, ...],
        masks: dict[str, tf.Tensor],
        frozen: frozenset[str] = frozenset(),
    ) -> Gradients:
        """Computes sums of losses and hits [2], gradients and batch statistics.

        Gradients and statistics of the layers `frozen` are zeros.
        """
        weights = self._body.trainable_variables
        held = self._rates.frozen_weights if frozen else ()
        trained = [v.value for v in weights if v.path not in held]
        forward = ForwardContext(dropout_masks=masks, frozen=frozen)
        with forward_context(forward), tf.GradientTape() as tape:
            logits = self._body(self._normalise(images), training=True)
            losses = self._mean_over_labels(
                lambda *given: self._losses(logits, *given), targets
            )
            loss = tf.reduce_sum(losses) / self._config.global_batch
            scaled = self._scale(loss)
        found = iter(tape.gradient(scaled, trained))
        gradients = [_zeros(v) if v.path in held else next(found) for v in weights]
        answers = tf.argmax(logits, 1)
        right = self._mean_over_labels(
            lambda labels, *_: tf.cast(tf.equal(answers, labels), losses.dtype), targets
        )
        sums = tf.stack([tf.reduce_sum(losses), tf.reduce_sum(right)])
        measured = forward.statistics | {
            v.path: _zeros(v) for v, layer in self._moving if layer.name in frozen
        }
        statistics = [measured[v.path] for v, _ in self._moving]
        if self._config.model.qat:
            statistics = _wait(statistics, sums)
        return sums, gradients, statistics

    def _mean_over_labels(
        self, score: Callable[..., tf.Tensor], targets: tuple[tf.Tensor, ...]
    ) -> tf.Tensor:
        """Scores the labels [n]; of mixed ones it is the mean, weighted by the shares.

        So the loss is that of the mixture of labels, and the accuracy the expected one.
        """
        if not self._config.data.mixes:
            return score(*targets)
        labels, others, share = targets
        own = score(labels)
        share = tf.cast(share, own.dtype)
        return share * own + (1 - share) * score(others)

    def _losses(
        self, logits: tf.Tensor, labels: tf.Tensor, *soft_labels: tf.Tensor
    ) -> tf.Tensor:
        """Computes the weighted losses [n], with label smoothing (Szegedy et al. 2016).

        `soft_labels` are the logits of a teacher, if there is one.
        """
        smoothing, classes = self._config.optim.label_smoothing, logits.shape[1]
        target = tf.one_hot(labels, classes, dtype=logits.dtype)
        target = target * (1 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(target, logits)
        losses = distillation_loss(
            losses, logits, *soft_labels, how=self._config.distillation
        )
        if self._class_weights is None:
            return losses
        return losses * tf.gather(
            tf.constant(self._class_weights, losses.dtype), labels
        )

    def _scale(self, loss: tf.Tensor) -> tf.Tensor:
        if self._config.precision is Precision.MIXED_FLOAT16:
            return self._optimizer.scale_loss(loss)
        return loss

    def _reduce(
        self, measure: reduction.Measure, rows: tf.Tensor, first: tf.Tensor
    ) -> Any:
        """Sums the results of `measure` over the shares of all replicas."""
        shards = self._config.elastic_shards
        if shards is None:
            replica = tf.distribute.get_replica_context()
            own = measure(rows, first)
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, own)
        return reduction.sharded_sum(
            measure,
            rows,
            first,
            size=self._config.global_batch // shards,
            dtype=self._body.variable_dtype,
        )

    def _update(
        self,
        gradients: list[tf.Tensor],
        statistics: list[tf.Tensor],
        step: tf.Tensor,
    ) -> tf.Tensor:
        """Applies summed gradients; returns their norm before clipping, unscaled."""
        factor = self._scale(tf.ones([], self._body.variable_dtype))
        norm = tf.linalg.global_norm(gradients) / factor
        limit = self._config.optim.clip_norm
        if limit is not None:
            gradients, _ = tf.clip_by_global_norm(
                gradients, limit * factor, use_norm=norm * factor
            )
        self._optimizer.apply(gradients, self._body.trainable_variables)
        self._move_statistics(statistics, step)
        for weight, average in zip(
            self._body.trainable_variables, self._weights, strict=bool(self._weights)
        ):
            now = tf.convert_to_tensor(weight.value)
            average.update(now, step, self._rates.of_frozen(weight.path))
        return norm

    def _move_statistics(self, statistics: list[tf.Tensor], step: tf.Tensor) -> None:
        """Updates the moving statistics with the means over all replicas or shards."""
        parts = self._config.elastic_shards or self._cluster.replicas
        for (variable, layer), average, total in zip(
            self._moving, self._statistics, statistics, strict=True
        ):
            now = tf.cast(total / parts, variable.dtype)
            moved = variable.value * layer.momentum + now * (1 - layer.momentum)
            held = layer.name in self._rates.frozen_layers
            frozen = self._rates.frozen if held else None
            if frozen is not None:
                moved = tf.where(frozen, variable.value, moved)
            variable.assign(moved)
            average.update(now, step, frozen)


def _wait(values: list[tf.Tensor], last: tf.Tensor) -> list[tf.Tensor]:
    """Returns `values`, which exist only as soon as `last` does; all of one type.

    A layer that reads what its statistic moves has to read it first. TensorFlow's
    dependency optimizer drops the control edge between the two (1 of 300 runs of one
    replica ended in other bits), and IdentityN, too; this keeps the order by data.
    """
    together = [*values, last]
    return reduction.unpack(reduction.pack(together), together)[:-1]


def _zeros(variable: keras.Variable) -> tf.Tensor:
    return tf.zeros(variable.shape, variable.dtype)
