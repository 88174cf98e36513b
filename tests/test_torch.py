"""PyTorch modules, in the styles of the usual collections, against torch itself."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tombola as tb
from tombola.core.data_info import DataInfo
from tombola.models.build import build, removable
from tombola.models.pytorch.network import torch_seed

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

IMAGES = DataInfo((8, 8, 3), (5,), classes=5)

# -- networks ---------------------------------------------------------------------------------------------------------


class Mlp(nn.Module):
    def __init__(self, inputs: int = 12, width: int = 16, classes: int = 5, rate: float = 0.0) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(inputs, width)
        self.hidden2 = nn.Linear(width, 8)
        self.drop = nn.Dropout(rate)
        self.output = nn.Linear(8, classes)

    def forward(self, x):
        return self.output(self.drop(F.relu(self.hidden2(F.relu(self.hidden1(x.flatten(1)))))))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, width: int = 4, blocks: int = 1, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(*(Block(width, width, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2), *(Block(2 * width, 2 * width, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2), *(Block(4 * width, 4 * width, 1) for _ in range(blocks - 1)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(torch.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(x)))), 1))


class Vgg(nn.Module):
    def __init__(self, width: int = 4, classes: int = 5, norm: bool = True, rate: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for outputs in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1),
                *([nn.BatchNorm2d(outputs)] if norm else []),
                nn.ReLU(True),
                nn.MaxPool2d(2),
            ]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(channels * 4, 12), nn.ReLU(True), nn.Dropout(rate), nn.Linear(12, classes))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.fc2(F.silu(self.fc1(x.mean((2, 3), keepdim=True)))))


class MobileNet(nn.Module):
    """Inverted residuals with depthwise convolutions and squeeze-and-excitation; channels are shuffled once."""

    def __init__(self, width: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width, momentum=0.03), nn.Hardswish())
        inner = 3 * width
        self.expand = nn.Sequential(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(inplace=True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(inner, inner, 3, 1, 2, dilation=2, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()
        )
        self.squeeze = Squeeze(inner)
        self.project = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.squeeze(self.depthwise(self.expand(x))))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        one, other = x.chunk(2, 1)
        x = torch.cat([one, other, F.avg_pool2d(x, 3, 1, 1)], 1)
        return self.head(x.mean([2, 3]))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(self, width: int = 8, depth: int = 2, classes: int = 5) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, 5, width))
        self.blocks = nn.Sequential(*(Encoder(width, 2) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class Words(nn.Module):
    """A small language model in two ways: recurrent, then attention; the table of embeddings gives the logits, too."""

    def __init__(self, vocabulary: int = 7, width: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.attend = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.triu(torch.full((6, 6), float("-inf")), 1))

    def forward(self, tokens):
        x, _ = self.gru(self.embed(tokens))
        return self.head(self.attend(x, src_mask=self.mask)).mean(1)


class StandardConv(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


class Odd(nn.Module):
    """A norm that is called twice, a standardised kernel, a normalised one, a running buffer of its own, and two layers without ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = StandardConv(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding="same"))
        self.third, self.fourth = nn.Linear(4, 6), nn.Linear(6, 5)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        x = torch.sigmoid(self.norm(self.second(torch.sigmoid(self.norm(self.first(x)))))).mean((2, 3))
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return self.fourth(self.third(x - self.mean))


class Decoder(nn.Module):
    """An autoencoder: transposed convolutions, group and instance norm, resizing."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.GroupNorm(2, width)
        self.instance = nn.InstanceNorm2d(width, affine=True)
        self.up = nn.ConvTranspose2d(width, 3, 3, 2, 1, output_padding=1, groups=1)
        self.slope = nn.PReLU(width)
        self.mix = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        x = self.slope(self.instance(F.elu(self.norm(self.down(x)))))
        x = torch.tanh(self.up(F.interpolate(F.interpolate(x, scale_factor=2, mode="bilinear"), size=4, mode="nearest")))
        return self.mix(x).flatten(1)


NETWORKS = {
    "mlp": (Mlp, DataInfo((12,), (5,), classes=5)),
    "resnet": (ResNet, IMAGES),
    "vgg": (Vgg, IMAGES),
    "mobilenet": (MobileNet, IMAGES),
    "vit": (Vit, IMAGES),
    "words": (Words, DataInfo((6,), (7,), "int32", 7, 7)),
    "odd": (Odd, IMAGES),
    "decoder": (Decoder, DataInfo((8, 8, 3), (8, 8, 3))),
}
SEED = 3


@lru_cache
def network(name):
    part, data = NETWORKS[name]
    return build(tb.model(part), data)


def module(part, seed=SEED, **options):
    """The module as torch makes it under the seed that stands for a replicate's."""
    torch.manual_seed(torch_seed(seed))
    return part(**options)


def examples(data, count=6):
    draw = np.random.default_rng(0)
    if data.dtype == "int32":
        return draw.integers(0, data.vocabulary, (count, *data.shape)).astype(np.int32)
    return draw.standard_normal((count, *data.shape)).astype(np.float32)


def to_torch(inputs):
    if inputs.dtype == np.int32:
        return torch.from_numpy(inputs).long()
    return torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy() if inputs.ndim == 4 else inputs)


def in_torch(net, tree):
    """Leaves in torch's orientation, by torch's names."""
    tensors = {one.path: one for one in net.recorded.plan.tensors}
    return {tensors[path].name: tensors[path].to_torch(np.asarray(leaf)) for path, leaf in tree.items()}


def assert_close(ours, torchs, tolerance=1e-5):
    """Equal within a share of the largest."""
    torchs = torchs.detach().numpy()
    ours = np.asarray(ours).reshape(torchs.shape)
    assert np.abs(ours - torchs).max() <= tolerance * max(1.0, np.abs(torchs).max())


# -- the same numbers as torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_running_statistics_are_those_of_torch(name):
    (part, data), net = NETWORKS[name], network(name)
    weights, inputs = net.init(SEED), examples(data)
    factors = np.random.default_rng(1).standard_normal((6, *data.outputs)).astype(np.float32)

    @jax.jit
    def both(weights, inputs):
        def loss(trained):
            outputs, changed = net.apply({**weights, **trained}, inputs, train=True)
            return (outputs * factors).sum(), (outputs, changed)

        gradient, (outputs, changed) = jax.grad(loss, has_aux=True)({path: weights[path] for path in net.trainable})
        return gradient, outputs, changed, net.apply({**weights, **changed}, inputs, train=False)[0]

    gradient, outputs, changed, evaluated = both(weights, inputs)
    torchs = module(part)
    expected = torchs(to_torch(inputs))
    (expected.reshape(factors.shape) * torch.from_numpy(factors)).sum().backward()
    assert_close(outputs, expected)
    found = in_torch(net, gradient)
    assert found.keys() == dict(torchs.named_parameters()).keys()
    for own, parameter in torchs.named_parameters():
        assert_close(found[own], parameter.grad, 3e-5)
    for own, ours in in_torch(net, changed).items():
        assert_close(ours, dict(torchs.named_buffers())[own])
    assert len(changed) == 2 * sum(isinstance(one, nn.BatchNorm2d) for one in torchs.modules()) + (name == "odd")
    assert_close(evaluated, torchs.eval()(to_torch(inputs)))


ARRAYS = {
    "": "relu relu6 hardtanh gelu silu mish sigmoid log_sigmoid tanh elu selu celu leaky_relu softplus hardswish hardsigmoid exp expm1 "
    "square abs neg sign sin cos atan erf floor ceil round trunc isnan sum mean amax amin prod t clone",
    "positive": "log log1p log2 sqrt rsqrt reciprocal",
    "two": "add sub mul div maximum minimum eq ne lt le gt ge remainder matmul mm lerp",
}


def aten(name):
    return getattr(torch.ops.aten, name)


def through_rule(operation, *given, **options):
    """What a rule gives for arrays, in torch's order."""
    from tombola.core.parts import torch_rules
    from tombola.models.pytorch.rules import compute
    from tombola.models.pytorch.value import Value, plainly

    as_values = jax.tree.map(lambda one: Value(jnp.asarray(one)) if isinstance(one, np.ndarray) else one, given)
    return plainly(compute(torch_rules[f"aten.{operation}"], None, as_values, options))


def through_torch(operation, *given, **options):
    call = jax.tree.map(lambda one: torch.from_numpy(one) if isinstance(one, np.ndarray) else one, given)
    return aten(operation)(*call, **options)


def same(ours, torchs):
    if isinstance(torchs, list | tuple):
        assert len(ours) == len(torchs)
        return all(same(*pair) for pair in zip(ours, torchs, strict=True) if pair[0] is not None)
    return np.allclose(np.asarray(ours), torchs.numpy(), atol=1e-5, rtol=1e-5) and ours.shape == tuple(torchs.shape)


X = np.random.default_rng(2).standard_normal((2, 4, 6, 5)).astype(np.float32)
LINE, TABLE = X[:, :, 0].copy(), X[0, 0].copy()
KERNEL, AXIS = X[0, :, :3, :3].reshape(2, 2, 3, 3).copy(), X[0, 0, :4, 0].copy()
INDEX = np.array([2, 0, 1])
CALLS = [
    ("leaky_relu", TABLE, 0.2),
    ("hardtanh", TABLE, -0.5, 0.1),
    ("threshold", TABLE, 0.1, 7.0),
    ("pow", TABLE, 2),
    ("clamp", TABLE, -0.1, None),
    ("clamp_min", TABLE, 0.3),
    ("clamp_max", TABLE, 0.3),
    ("softplus", TABLE, 2, 1),
    ("elu", TABLE, 0.5, 2.0, 1.5),
    ("add", X, AXIS.reshape(4, 1, 1)),
    ("rsub", TABLE, 1.0),
    ("sub", TABLE, TABLE[0]),
    ("where", TABLE > 0, TABLE, np.zeros((), np.float32)),
    ("masked_fill", TABLE, TABLE > 0, -3.0),
    ("addcmul", TABLE, TABLE, TABLE),
    ("logical_and", TABLE > 0, TABLE < 1),
    ("logical_not", TABLE > 0),
    ("bitwise_or", TABLE > 0, TABLE < 1),
    ("full_like", TABLE, 2.0),
    ("fill", TABLE, 2.0),
    ("mean", X, [2, 3]),
    ("mean", X, [2, 3], True),
    ("sum", X, [1]),
    ("amax", X, [2]),
    ("var", X, [1]),
    ("std", X, [1]),
    ("var_mean", X, [1]),
    ("linalg_vector_norm", X, 2, [1]),
    ("max", X, 1),
    ("min", X, 1),
    ("max", X),
    ("any", TABLE > 2),
    ("all", TABLE > -9),
    ("cumsum", X, 1),
    ("argmax", X, 1),
    ("view", X, [2, 24, 5]),
    ("reshape", X, [-1, 5]),
    ("flatten", X, 1, 2),
    ("permute", X, [0, 2, 3, 1]),
    ("transpose", X, 1, -1),
    ("squeeze", X[:, :1], 1),
    ("unsqueeze", X, 1),
    ("expand", X[:, :1], [-1, 4, -1, -1]),
    ("expand", AXIS, [3, -1]),
    ("repeat", TABLE, [2, 1, 3]),
    ("stack", [TABLE, TABLE], 1),
    ("cat", [TABLE, TABLE], 1),
    ("chunk", X, 3, 1),
    ("split", X, 4, 2),
    ("split_with_sizes", X, [1, 5], 2),
    ("unbind", X, 1),
    ("slice", X, 2, 1, 2**62, 2),
    ("narrow", X, 2, 1, 3),
    ("select", X, 2, -1),
    ("select_scatter", TABLE, TABLE[0], 0, 2),
    ("slice_scatter", TABLE, TABLE[:2], 0, 1, 3),
    ("index_select", X, 2, INDEX),
    ("index", TABLE, [INDEX]),
    ("index", TABLE, [None, INDEX]),
    ("gather", TABLE, 0, np.array([[1, 0, 2, 3, 4]])),
    ("roll", X, [1, 2], [2, 3]),
    ("flip", X, [1]),
    ("tril", TABLE, -1),
    ("triu", TABLE, 1),
    ("softmax", X, 1),
    ("log_softmax", X, -1),
    ("glu", X, 1),
    ("bmm", LINE, LINE.swapaxes(1, 2).copy()),
    ("addmm", TABLE[:2, :2].copy(), TABLE[:2], TABLE.T[:, :2].copy()),
    ("einsum", "bchw,c->bhw", [X, AXIS]),
    ("embedding", TABLE, INDEX),
    ("linear", TABLE, TABLE, TABLE[:, 0].copy()),
    ("constant_pad_nd", X, [1, 0, -1, 2], 3.0),
    ("pad", X, [1, 2, 1, 0], "reflect"),
    ("pad", LINE, [1, 2], "circular"),
    ("logsumexp", X, [1]),
    ("pad", LINE, [1, 2], "replicate"),
    ("prelu", X, AXIS),
    ("conv1d", LINE, KERNEL[:, :, 0].copy(), None, [1], [1], [1], 2),
    ("conv2d", X, KERNEL, AXIS[:2].copy(), [2, 1], [1, 2], [2, 1], 2),
    ("conv_transpose2d", X, KERNEL.reshape(4, 1, 3, 3), AXIS[:2].copy(), [2, 3], [1, 0], [1, 0], 2, [1, 2]),
    ("max_pool2d", X, [3, 2], [2, 1], [1, 0], [1, 2], True),
    ("max_pool2d", X, [2, 2]),
    ("max_pool1d", LINE, [2]),
    ("avg_pool2d", X, [3, 3], [2, 2], [1, 1]),
    ("avg_pool2d", X, [3, 3], [2, 2], [1, 1], True, False),
    ("avg_pool1d", LINE, [2]),
    ("adaptive_avg_pool2d", X, [4, 1]),
    ("adaptive_max_pool2d", X, [4, 3]),
    ("layer_norm", X, [6, 5], X[0, 0].copy(), X[0, 1].copy()),
    ("rms_norm", X, [5]),
    ("group_norm", X, 2, AXIS, AXIS),
    ("instance_norm", X, AXIS, AXIS, None, None, True, 0.1, 1e-5, False),
    ("batch_norm", X, AXIS, AXIS, None, None, True, 0.1, 1e-5, False),
    ("batch_norm", X, None, None, AXIS, AXIS**2, False, 0.1, 1e-5, False),
    ("upsample_nearest2d", X, [9, 10], None),
    ("upsample_bilinear2d", X, [9, 3], False, None),
    ("upsample_bilinear2d", X, [9, 3], True, None),
    ("pixel_shuffle", X, 2),
    ("channel_shuffle", X, 2),
    ("im2col", X, [3, 2], [1, 2], [1, 0], [2, 1]),
    ("_weight_norm", X, X[:1, :, :1, :1].reshape(1, 4, 1, 1).copy(), 1),
    ("rrelu", TABLE),
    ("vdot", AXIS, AXIS),
    *((name, TABLE) for name in ARRAYS[""].split()),
    *((name, np.abs(TABLE) + 0.1) for name in ARRAYS["positive"].split()),
    *((name, TABLE[:5], TABLE[:5] * 0.5 + 0.3, *([0.3] if name == "lerp" else [])) for name in ARRAYS["two"].split()),
]


@pytest.mark.parametrize("call", CALLS, ids=[f"{call[0]}-{place}" for place, call in enumerate(CALLS)])
def test_a_rule_computes_what_torch_does(call):
    assert same(through_rule(*call), through_torch(*call))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_compute_what_torchs_do(kind):
    """Two layers, both directions, time first."""
    torch.manual_seed(0)
    layer = getattr(nn, kind)(5, 3, num_layers=2, bidirectional=True)
    start = X[:4, :2, 0, :3].reshape(-1)[:12].reshape(4, 1, 3).copy()
    states = [start, start[::-1].copy()] if kind == "LSTM" else start
    weights = [one.detach().numpy() for one in layer._flat_weights]
    found = through_rule(
        "rnn_tanh" if kind == "RNN" else kind.lower(), X[0, 0][:, None].copy(), states, weights, True, 2, 0.0, True, True, False
    )
    given = tuple(map(torch.from_numpy, states)) if kind == "LSTM" else torch.from_numpy(states)
    out, ends = layer(torch.from_numpy(X[0, 0][:, None].copy()), given)
    with torch.no_grad():
        assert same(found, [out.detach(), *(one.detach() for one in (ends if kind == "LSTM" else [ends]))])


def test_images_stay_channels_last_through_layers_and_what_is_element_by_element():
    from tombola.models.pytorch.value import Value, together

    image = Value(jnp.asarray(X.transpose(0, 2, 3, 1)), last=True)
    for other in (X, X[:, :1], AXIS.reshape(4, 1, 1), np.float32(2)):
        (one, two), held = together([image, Value(jnp.asarray(other))])
        found = held(one + two)
        assert found.last
        np.testing.assert_array_equal(found.plain(), X + other)
    flat = image.flatten()
    assert flat.flat == (4, 6, 5)
    np.testing.assert_array_equal(flat.plain(), X.reshape(2, -1))
    np.testing.assert_array_equal(Value(flat.plain()).flattened((4, 6, 5)), flat.array)


# -- what a network knows of itself ---------------------------------------------------------------------------------------


def test_layers_kinds_and_blocks_are_those_of_the_module_in_forward_order():
    layers = {one.name: one for one in network("resnet").layers}
    assert list(layers) == [
        "conv1", "layer1/0/conv1", "layer1/0/conv2",
        "layer2/0/conv1", "layer2/0/conv2", "layer2/0/downsample/0",
        "layer3/0/conv1", "layer3/0/conv2", "layer3/0/downsample/0", "fc",
    ]  # fmt: skip
    assert {name: one.kind for name, one in layers.items() if one.kind != "conv"} == {
        "layer2/0/downsample/0": "shortcut",
        "layer3/0/downsample/0": "shortcut",
        "fc": "output",
    }
    assert {one.block for one in layers.values()} == {"conv1", "layer1/0", "layer2/0", "layer3/0", "fc"}
    # bn1 is declared after conv2, but normalises what conv1 gives.
    assert {"layer1/0/bn1/scale", "layer1/0/bn1/var"} <= set(layers["layer1/0/conv1"].paths)
    assert {one.name: one.kind for one in network("decoder").layers} == {"down": "conv", "up/weight": "conv", "mix": "output"}
    assert {one.name: one.kind for one in network("words").layers}["embed"] == "output"  # it computes the logits, too
    assert "gru/weight_hh_l0" in network("words").prunable
    odd = {one.prunable[0]: one.kind for one in network("odd").layers}
    assert odd == {
        "first/weight": "conv",
        "second/parametrizations/weight/original1": "conv",
        "third/kernel": "dense",
        "fourth/kernel": "output",
    }


def test_what_only_shifts_examples_is_never_pruned():
    vit = network("vit")
    assert {"place", "token"} <= vit.trainable
    assert vit.prunable == tuple(path for path in vit.shapes if path.endswith("/kernel"))


def test_units_are_seen_where_one_layer_alone_reads_them_after_relu():
    found = {name: {(one.layer, one.outgoing, one.spread) for one in network(name).units} for name in NETWORKS}
    assert found["resnet"] == {(f"layer{stage}/0/conv1", f"layer{stage}/0/conv2/kernel", 1) for stage in (1, 2, 3)}
    assert found["vgg"] == {
        ("features/0", "features/4/kernel", 1),
        ("features/4", "classifier/0/kernel", 4),
        ("classifier/0", "classifier/3/kernel", 1),
    }
    assert found["words"] == {("attend/linear1", "attend/linear2/kernel", 1)}
    # Other activations or none, depthwise convolutions, layers that are called twice.
    assert not found["mobilenet"] | found["vit"] | found["decoder"] | found["odd"]


def test_a_layer_can_be_taken_out():
    model = tb.model(ResNet, blocks=2)
    assert {"layer1/0/conv1", "layer1/1/conv2"} <= set(removable(model, IMAGES))
    without = build(model.but(without=("layer1/0/conv2",)), IMAGES)
    assert not [path for path in without.shapes if path.startswith(("layer1/0/conv2", "layer1/0/bn2"))]


# -- initial values -----------------------------------------------------------------------------------------------------


def test_own_initial_values_are_what_the_constructor_draws():
    net = network("vgg")
    state = torch.get_rng_state()
    for seed, stream in ((SEED, "init"), (4, "init"), (SEED, "reinit/1")):
        torch.manual_seed(torch_seed(seed, stream))
        expected = Vgg().state_dict()
        torch.set_rng_state(state)
        drawn = in_torch(net, net.init(seed, stream))
        assert drawn.keys() == {name for name in expected if not name.endswith("num_batches_tracked")}
        for name, leaf in drawn.items():
            np.testing.assert_array_equal(leaf, expected[name])
    assert torch.equal(state, torch.get_rng_state())
    assert net.std("features/1/scale") == 0
    assert net.std("features/0/bias") > 0


def test_tombolas_initializers_draw_kernels_and_torch_the_rest():
    net = build(tb.model(Vgg, initializer="kaiming_normal"), IMAGES)
    own, drawn = network("vgg").init(SEED), net.init(SEED)
    assert {path for path in own if (own[path] != drawn[path]).any()} == set(net.prunable)
    assert net.std("classifier/0/kernel") == pytest.approx((2 / 32) ** 0.5)


def test_an_instance_is_the_start_of_every_replicate_and_its_weights_are_of_its_identity():
    one = module(Vgg)
    model = tb.model(one)
    assert model.name != tb.model(Vgg).name
    assert model == tb.model(one.eval())
    net = build(model, IMAGES)
    with torch.no_grad():
        one.classifier[0].bias[0] += 1
    assert model != tb.model(one)  # and the copy that was described is as it was
    for seed in (0, 1):
        for path, leaf in network("vgg").init(SEED).items():
            np.testing.assert_array_equal(net.init(seed)[path], leaf)
    drawn = net.init(0, "reinit/1")
    assert (drawn["classifier/0/bias"] != net.init(0)["classifier/0/bias"]).all()
    with pytest.raises(tb.TombolaError, match=r"itself \(Vit\) has no reset_parameters"):
        build(tb.model(Vit()), IMAGES).init(0, "reinit/1")


def test_dropout_draws_in_training_alone():
    net = build(tb.model(Mlp, rate=0.5), NETWORKS["mlp"][1])
    assert net.stochastic
    assert not network("mlp").stochastic
    weights, inputs = net.init(SEED), examples(net.data)
    one, other = (net.apply(weights, inputs, train=True, dropout_key=jax.random.key(seed))[0] for seed in (0, 1))
    assert (np.asarray(one) != np.asarray(other)).any()
    np.testing.assert_array_equal(net.apply(weights, inputs, train=False)[0], network("mlp").apply(weights, inputs, train=False)[0])


# -- identity and errors ------------------------------------------------------------------------------------------------

SOURCE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.hidden, self.output = nn.Linear(64, width), nn.Linear(width, 10)
    def forward(self, x):
        return self.output(torch.relu(self.hidden(x)))
"""


def test_a_file_names_a_network_by_its_code(tmp_path, capsys):
    from tombola import cli

    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    before = tb.model(f"{path}:Net", width=4)
    path.write_text(f"# a comment\n{SOURCE}")
    assert tb.model(f"{path}:Net", width=4) == before
    path.write_text(SOURCE.replace("torch.relu", "torch.tanh"))
    assert tb.model(f"{path}:Net", width=4).name != before.name
    command = [
        "show",
        "frankle2019.sparsity",
        "--scale",
        "smoke",
        "--task",
        "digits-mlp",
        "--model",
        f"{path}:Net",
        "--set",
        "options.width=4",
    ]
    assert cli.main(command) == 0
    assert "hidden  dense   256" in capsys.readouterr().out


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(192, 5)

    def forward(self, x):
        return self.output(x.flatten(1))


class Decides(Flat):
    def forward(self, x):
        return super().forward(x * 2 if x.sum() > 0 else x)


class TwoInputs(Flat):
    def forward(self, x, y):
        return super().forward(x + y)


class TwoOutputs(Flat):
    def forward(self, x):
        return super().forward(x), x


class OneBatch(Flat):
    def forward(self, x):
        return self.output(x.view(20, 192))


class Rare(Flat):
    def forward(self, x):
        return super().forward(torch.special.i0(torch.lgamma(x.abs() + 1)))


def frozen():
    found = Flat()
    found.output.weight.requires_grad_(False)
    return found


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (Decides, {}, r"model 'Decides' decides by the values of its inputs in forward, line \d+"),
        (TwoInputs, {}, "forward takes x, y, but a network is given the inputs of a batch alone"),
        (TwoOutputs, {}, "returns 2 tensors, but a network returns one"),
        (OneBatch, {}, r"works for one size of the batch alone; write x.shape\[0\]"),
        (Rare, {}, r'without a rule: aten.lgamma, aten.special_i0; register each .*torch_rules.register\("aten.lgamma"\)'),
        (frozen, {}, "output.weight does not require a gradient; let it, and freeze the layer here"),
        (Flat().half, {}, "but weights train in float32"),
        (Mlp, {"inputs": 3}, "cannot be exported by torch for examples"),
        (Vgg, {"klass": 3}, "unknown option of Vgg 'klass': did you mean 'classes'"),
        (Vgg, {"width": "a"}, "option width = 'a', but it must be a whole number"),
        (Vgg, {"classes": 4}, r"returns \(2, 4\) for 2 examples, but it must return logits, \(2, 5\)"),
        (Vgg, {"widths": (2, 2)}, "it has the units features/0 4, features/4 8, classifier/0 12; give at most as many for each"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_cannot_be_is_one_line(part, options, message):
    given = part() if part in (frozen,) or not isinstance(part, type) else part
    with pytest.raises(tb.TombolaError, match=message) as raised:
        build(tb.model(given, **options), IMAGES)
    assert "\n" not in str(raised.value)


def test_a_user_registers_rules_and_the_network_is_known_by_them(monkeypatch):
    from tombola.core.parts import torch_rules

    monkeypatch.setattr(torch_rules, "_parts", dict(torch_rules._parts))

    @tb.torch_rules.register("aten.lgamma")
    def lgamma(x):
        return jax.lax.lgamma(x)

    @tb.torch_rules.register("aten.special_i0")
    def i0(x):
        return jax.scipy.special.i0(x)

    model = tb.model(Rare)
    net = build(model, IMAGES)
    inputs = examples(IMAGES)
    assert_close(net.apply(net.init(SEED), inputs, train=False)[0], module(Rare)(to_torch(inputs)))

    @tb.torch_rules.register("aten.special_i0")
    def other(x):
        return x

    assert tb.model(Rare) != model


# -- studies ------------------------------------------------------------------------------------------------------------


def test_units_are_removed_with_the_same_outputs():
    from tombola.surgery.compact import compact_model

    net = network("vgg")
    weights = net.init(SEED)
    mask = {path: np.ones(weights[path].shape, bool) for path in net.prunable}
    for path, units in (("features/4/kernel", [0, 5]), ("classifier/0/kernel", [3])):
        mask[path][..., units] = False
    mask["classifier/3/kernel"][3] = False
    for reader, spread in (("classifier/0/kernel", 4),):
        mask[reader].reshape(spread, 8, -1)[:, [0, 5]] = False
    weights |= {path: weights[path] * mask[path] for path in mask}
    small, left = compact_model(tb.model(Vgg), IMAGES, weights, mask)
    assert small.options == {"widths": [4, 6, 11]}
    assert left.weights["classifier/0/kernel"].shape == (4 * 6, 11)
    inputs = examples(IMAGES)
    assert_close(
        build(small, IMAGES).apply(left.weights, inputs, train=False)[0],
        torch.from_numpy(np.array(net.apply(weights, inputs, train=False)[0])),
    )


def test_a_ticket_of_units_is_found_made_smaller_and_trained_on():
    inputs = np.random.default_rng(5).standard_normal((150, 12)).astype(np.float32)
    targets = inputs[:, :5].argmax(1)
    data = tb.from_arrays(inputs[:100], targets[:100], inputs[100:], targets[100:])
    recipe = tb.Recipe(steps="20it", batch=10, learning_rate=1e-2, evaluate_every="20it")
    task = tb.Task(data=data, model=tb.model(Mlp), recipe=recipe)
    pruning = tb.Pruning(structure="units", rates={"dense": 0.5, "output": 0.0})
    dense, ticket = tb.imp(task, levels=1, replicates=2, pruning=pruning)
    assert dense.summary["es_test_acc"].mean() > 0.4  # five classes
    assert_close(
        in_torch(network("mlp"), {path: leaf[1] for path, leaf in dense.initial.items()})["output.weight"],
        module(Mlp, dense.seeds[1]).output.weight,
    )
    model, start, mask = tb.compact(task, ticket.final, ticket.mask)
    assert model.options["widths"] == [8, 4]
    small = tb.train(task.but(model=model), start=start, mask=mask)
    assert small.final["hidden2/kernel"].shape == (1, 8, 4)
    np.testing.assert_allclose(
        tb.predict(task.but(model=model), start, inputs[:9]), tb.predict(task, ticket.final, inputs[:9])[:1], atol=1e-5
    )


# -- back to torch ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two levels of a VGG whose kernels read a flattened image."""
    inputs = np.random.default_rng(6).standard_normal((90, 8, 8, 3)).astype(np.float32)
    data = tb.from_arrays(inputs[:60], inputs[:60].mean((1, 2)).argmax(1), inputs[60:], inputs[60:].mean((1, 2)).argmax(1))
    recipe = tb.Recipe(steps="6it", batch=10, learning_rate=1e-2, evaluate_every="6it")
    folder = tmp_path_factory.mktemp("store")
    task = tb.Task(data=data, model=tb.model(Vgg, classes=3), recipe=recipe)
    return folder, inputs[:7], tb.imp(task, levels=1, replicates=1, store=folder)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_an_exported_ticket_computes_the_same_in_torch_under_its_masks(store, suffix, tmp_path, capsys):
    from torch.nn.utils import prune

    from tombola import cli

    folder, inputs, (_, ticket) = store
    file = tmp_path / f"ticket.{suffix}"
    assert cli.main(["export", ticket.runs[0].digest, "--store", str(folder), "--torch", "-o", str(file)]) == 0
    assert "weights kept" in capsys.readouterr().out
    expected = tb.predict(ticket.task, ticket.final, inputs)[0]
    found = tb.to_torch(file, Vgg(classes=3)).eval()
    with torch.no_grad():
        assert_close(expected, found(to_torch(inputs)))
    assert prune.is_pruned(found)
    for path, name in (("features/0", "features.0"), ("classifier/0", "classifier.0")):
        layer = found.get_submodule(name)
        assert int(layer.weight_mask.sum()) == ticket.mask[f"{path}/kernel"].sum() < layer.weight_mask.numel()
        assert torch.equal(layer.weight == 0, layer.weight_mask == 0)
    if suffix == "pt":  # without Tombola
        plain = Vgg(classes=3)
        state = torch.load(file)
        for name in [name for name in state if name.endswith("_mask")]:
            path = name.rpartition(".")[0]
            prune.custom_from_mask(plain.get_submodule(path), "weight", state[name])
        plain.load_state_dict(state)
        with torch.no_grad():
            assert_close(expected, plain.eval()(to_torch(inputs)))


def test_a_trajectory_goes_into_a_module_and_trains_on_under_its_mask(store):
    _, inputs, (dense, ticket) = store
    found = tb.to_torch(ticket, Vgg(classes=3))
    with torch.no_grad():
        assert_close(tb.predict(ticket.task, ticket.final, inputs)[0], found.eval()(to_torch(inputs)))
    found.train()(to_torch(inputs)).square().sum().backward()
    assert not found.classifier[0].weight_orig.grad[found.classifier[0].weight_mask == 0].any()
    again = tb.to_torch(dense, tb.to_torch(ticket, Vgg(classes=3)), step="0it")
    torch.manual_seed(torch_seed(dense.seeds[0]))
    expected = Vgg(classes=3)
    assert again.state_dict().keys() == expected.state_dict().keys()
    assert torch.equal(again.classifier[3].weight, expected.classifier[3].weight)
    with pytest.raises(tb.TombolaError, match=r"of another module: classifier.3.bias is \(3,\) there, and \(4,\) in Vgg"):
        tb.to_torch(ticket, Vgg(classes=4))


def test_what_cannot_go_back_is_one_line(store, tmp_path, capsys):
    from tombola import cli
    from tombola.models.pytorch.state import state_of

    folder, _, (_, ticket) = store
    command = ["export", ticket.runs[0].digest, "--store", str(folder), "--torch", "-o"]
    assert cli.main([*command, str(tmp_path / "ticket.bin")]) == 2
    assert "must end in .pt, .pth, .safetensors" in capsys.readouterr().err
    (tmp_path / "x.pt").write_bytes(b"no")
    with pytest.raises(tb.TombolaError, match="no file of `tombola export --torch`"):
        tb.to_torch(tmp_path / "x.pt", Vgg())
    with pytest.raises(tb.TombolaError, match="model 'mlp' is no module of PyTorch's"):
        state_of(tb.Model(name="mlp"), IMAGES, {}, {}, 0)
    weights, mask = ({path: leaf[0] for path, leaf in tree.items()} for tree in (ticket.final, ticket.mask))
    held = weights | {"features/0/kernel": np.ones_like(weights["features/0/kernel"])}
    state, whole = state_of(ticket.task.model, DataInfo((8, 8, 3), ()), held, mask, 6)
    assert whole == ["features.0.weight"]
    assert {"features.0.weight", "features.4.weight_mask"} <= state.keys()
    assert state["features.1.num_batches_tracked"] == 6


def test_the_page_for_those_who_come_from_pytorch_runs(capsys, monkeypatch):
    import re
    from pathlib import Path

    from tombola.core.parts import torch_rules

    monkeypatch.setattr(torch_rules, "_parts", dict(torch_rules._parts))
    page = (Path(__file__).parent.parent / "docs" / "coming_from_pytorch.md").read_text()
    scope = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "coming_from_pytorch.md", "exec"), scope)
    assert len(capsys.readouterr().out.splitlines()) == 3
