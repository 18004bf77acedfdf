"""Built-in architectures, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.architectures"
_SUPERVISED = ("classification", "multilabel", "regression")

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="mlp",
        target=f"{_HOME}.mlp:MLP",
        summary="fully connected layers over the flattened input",
        tasks=_SUPERVISED,
        inputs=("features", "image", "sequence"),
    ),
    Component(
        name="cnn",
        target=f"{_HOME}.cnn:CNN",
        summary="convolutions with pooling, then dense layers",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="doi:10.1109/5.726791",
    ),
    Component(
        name="resnet",
        target=f"{_HOME}.resnet:ResNet",
        summary="residual network of basic blocks with a stem for small images",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="arXiv:1512.03385",
    ),
    Component(
        name="rnn",
        target=f"{_HOME}.rnn:RNN",
        summary="recurrent network (plain, LSTM or GRU) with a dense head",
        tasks=_SUPERVISED,
        inputs=("features", "image", "sequence", "tokens"),
        reference="doi:10.1162/neco.1997.9.8.1735",
    ),
    Component(
        name="transformer",
        target=f"{_HOME}.transformer:Transformer",
        summary="transformer encoder with learned positions",
        tasks=_SUPERVISED,
        inputs=("features", "image", "sequence", "tokens"),
        reference="arXiv:1706.03762",
    ),
    Component(
        name="autoencoder",
        target=f"{_HOME}.autoencoder:DenseOrConvAutoencoder",
        summary="dense or convolutional autoencoder: plain, denoising, variational",
        tasks=("reconstruction",),
        inputs=("features", "image", "sequence"),
        defaults={"task": "reconstruction"},
        reference="arXiv:1312.6114",
    ),
    Component(
        name="gan",
        target=f"{_HOME}.gan:GAN",
        summary="generator and discriminator: convolutional for images, dense otherwise",
        tasks=("generation",),
        inputs=("features", "image", "sequence"),
        defaults={"task": "generation"},
        reference="arXiv:1511.06434",
    ),
)
