"""Steps that a GPU replays are those that torch's optimizer takes."""

import numpy as np
import pytest
import torch
from test_image_proxy import CONFIG, UNIFORM, stripes
from torch import nn

from policysearch.proxies.image import ImageProxy, ImageProxyConfig
from policysearch.proxies.replay import DeviceRates, plain_step

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def made():
    """A network with an unused weight, its optimizer and a schedule of rate and momentum."""
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    network.unused = nn.Parameter(torch.ones(2))
    rng = torch.Generator().manual_seed(0)
    for p in network.parameters():
        nn.init.normal_(p, generator=rng)
    optimizer = torch.optim.SGD(
        network.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    return network, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, 30)


def batches():
    rng = torch.Generator().manual_seed(1)
    for _ in range(30):
        yield torch.randn((5, 3), generator=rng), torch.randint(0, 2, (5,), generator=rng)


def test_the_update_on_the_device_is_that_of_sgd_whose_buffers_it_keeps():
    network, optimizer, schedule = made()
    other, its_optimizer, its_schedule = made()
    rates = DeviceRates(its_optimizer, torch.device("cpu"))
    for i, (x, y) in enumerate(batches()):
        plain_step(network, optimizer, x, y)
        schedule.step()
        if i < 3 or i == 20:  # in between as well
            plain_step(other, its_optimizer, x, y)
        else:
            its_optimizer.zero_grad()
            nn.functional.cross_entropy(other(x), y).backward()
            rates.read()
            rates.update()
        its_schedule.step()
    for one, its in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, its, rtol=1e-5, atol=1e-6)
    states = optimizer.state_dict()["state"], its_optimizer.state_dict()["state"]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        one, its = (state[key]["momentum_buffer"] for state in states)
        torch.testing.assert_close(one, its, rtol=1e-5, atol=1e-6)


@NO_GPU
@pytest.mark.parametrize("in_segments", [False, True])
def test_a_replayed_training_is_the_plain_one(monkeypatch, in_segments):
    config = ImageProxyConfig(width=4, batch_size=16, device="cuda")
    data, found = stripes(41), {}  # batches of 14 and of 13
    for replays in (True, False):
        monkeypatch.setattr(ImageProxy, "is_replayable", replays)
        proxy = ImageProxy(data, UNIFORM, 6, 1, config)
        if in_segments:
            proxy.fit_until(6, proxy.fit_until(3))
        else:
            proxy.fit()
        found[replays] = np.exp(proxy.predict(data))
    np.testing.assert_allclose(found[True], found[False], atol=0.02)
    start = np.exp(ImageProxy(data, UNIFORM, 6, 1, config).predict(data))
    assert np.abs(start - found[True]).max() > 0.1


def test_a_cpu_replays_nothing(monkeypatch):
    monkeypatch.setattr("policysearch.proxies.training.ReplayedSteps", None)
    ImageProxy(stripes(), UNIFORM, 1, 1, CONFIG).fit()
