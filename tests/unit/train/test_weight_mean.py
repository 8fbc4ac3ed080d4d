import numpy as np
import pytest
import torch
from torch import nn

from spixgraph.train.weight_mean import WeightMean


def values(net):
    return {name: value.clone().numpy() for name, value in net.state_dict().items()}


def test_mean_is_exponential_and_the_net_gets_its_weights_back():
    net = nn.Linear(3, 2)
    mean = WeightMean(net, n_steps=4)
    wanted = None
    for seed in range(6):
        with torch.no_grad():
            net.weight.copy_(torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3))))
        mean.add()
        now = values(net)["weight"]
        wanted = now if wanted is None else wanted + (now - wanted) / 4
    before = values(net)
    with mean.in_net():
        np.testing.assert_allclose(values(net)["weight"], wanted, rtol=1e-5)
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_an_error_gives_the_weights_back_too():
    net = nn.Linear(3, 2)
    mean = WeightMean(net, n_steps=4)
    mean.add()
    with torch.no_grad():
        net.weight.add_(1)
    before = values(net)["weight"]
    with pytest.raises(KeyError), mean.in_net():
        raise KeyError
    np.testing.assert_array_equal(values(net)["weight"], before)
