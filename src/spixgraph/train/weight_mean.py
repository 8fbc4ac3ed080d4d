"""Means of weights over the steps of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightMean:
    """The exponential mean of the weights of a network.

    Steps at a high learning rate jump about a minimum; their mean lies in it, so that an epoch in
    the middle of a cycle can be judged as the end of one (Polyak and Juditsky 1992).

    Parameters
    ----------
    net : nn.Module
    n_steps : float
        Time constant, > 0.
    """

    def __init__(self, net: nn.Module, n_steps: float) -> None:
        self._net = net
        self._mean = AveragedModel(
            net, multi_avg_fn=get_ema_multi_avg_fn(1 - min(1.0, 1 / n_steps))
        )

    def add(self) -> None:
        """Count the weights of the network as they are now."""
        self._mean.update_parameters(self._net)

    @contextmanager
    def in_net(self) -> Iterator[None]:
        """Let the network have its mean weights for a while."""
        now = {name: value.clone() for name, value in self._net.state_dict().items()}
        self._net.load_state_dict(self._mean.module.state_dict())
        try:
            yield
        finally:
            self._net.load_state_dict(now)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return self._mean.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self._mean.load_state_dict(state)
