"""Checks that a batch and its shards can be divided among the replicas."""

from trainer.config.schema import Config
from trainer.errors import InvalidInput


def check_shares(config: Config, replicas: int) -> None:
    """Checks that batch and shards can be divided evenly among the replicas."""
    check_batch(config.global_batch, replicas)
    check_shards(config.elastic_shards, replicas)


def check_batch(global_batch: int, replicas: int) -> None:
    """Checks that the global batch can be divided evenly; raises InvalidInput."""
    if global_batch % replicas:
        lower = global_batch // replicas * replicas
        near = [n for n in (lower, lower + replicas) if n > 0]
        raise InvalidInput(
            f"global_batch={global_batch} cannot be shared by {replicas} replicas; "
            f"the nearest that work: {' and '.join(map(str, near))}"
        )


def check_shards(shards: int | None, replicas: int) -> None:
    """Checks that the shards of a batch can be divided evenly; raises InvalidInput."""
    if shards is not None and shards % replicas:
        good = [str(n) for n in range(1, shards + 1) if shards % n == 0]
        raise InvalidInput(
            f"elastic_shards={shards} cannot be shared by {replicas} replicas; it "
            f"can by {', '.join(good)}"
        )
