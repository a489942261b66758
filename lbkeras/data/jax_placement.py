"""Places batches and data on one device, or on those of a distribution, on Keras' JAX backend."""

import dataclasses

import jax
import keras
from jax.sharding import NamedSharding, PartitionSpec

from lbkeras.errors import UserError
from lbkeras.keras_internals.backend import count_devices
from lbkeras.keras_internals.jax_trainer import let_pipelines_place_their_batches

let_pipelines_place_their_batches()


@dataclasses.dataclass(frozen=True)
class Placement:
    """The devices that divide a batch.

    Args:
        mesh: a JAX mesh; None: one device.
        axis: the name of the mesh's axis along which batches are divided.
    """

    mesh: jax.sharding.Mesh | None
    axis: str = ""

    @property
    def num_replicas(self) -> int:
        """The number of equal parts that a batch is divided into."""
        return count_devices()

    def check(self, batch_size: int) -> None:
        """Raises a UserError if a batch size for training is not divisible by the replicas."""
        if batch_size % self.num_replicas:
            raise UserError(
                f"batch_size: expected a multiple of the {self.num_replicas} replicas for "
                f"training, received {batch_size}"
            )

    def of_rows(self, rows: int) -> NamedSharding | None:
        """Returns how `rows` rows are placed: divided, or copied to each device if indivisible."""
        if self.mesh is None:
            return None
        divided = rows % self.num_replicas == 0
        return NamedSharding(self.mesh, PartitionSpec(self.axis if divided else None))

    def everywhere(self, parts):
        """Copies arrays to each device."""
        sharding = None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec())
        return jax.device_put(parts, sharding)


def present_placement() -> Placement:
    """Returns the placement of the distribution set with `keras.distribution.set_distribution`."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return Placement(None)
    return Placement(distribution.device_mesh.backend_mesh, distribution.batch_dim_name)
