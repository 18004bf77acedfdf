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
        summary="residual network: small form, or 18, 34 or 50 layers",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="arXiv:1512.03385",
    ),
    Component(
        name="vgg",
        target=f"{_HOME}.vgg:VGG",
        summary="deep stack of 3x3 convolutions with 11, 13, 16 or 19 layers",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="arXiv:1409.1556",
    ),
    Component(
        name="vision_transformer",
        target=f"{_HOME}.patches:VisionTransformer",
        summary="transformer encoder over the patches of an image",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="arXiv:2010.11929",
    ),
    Component(
        name="mlp_mixer",
        target=f"{_HOME}.patches:MLPMixer",
        summary="dense layers over the patches of an image and over their channels in turn",
        tasks=_SUPERVISED,
        inputs=("image",),
        reference="arXiv:2105.01601",
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
        name="bag_of_embeddings",
        target=f"{_HOME}.bag_of_embeddings:BagOfEmbeddings",
        summary="mean of the tokens' vectors, then dense layers",
        tasks=_SUPERVISED,
        inputs=("tokens",),
        reference="arXiv:1607.01759",
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
        name="dlinear",
        target=f"{_HOME}.dlinear:DLinear",
        summary="linear forecast of the trend and of what is left of a series",
        tasks=("forecasting",),
        inputs=("sequence",),
        reference="arXiv:2205.13504",
    ),
    Component(
        name="last_value",
        target=f"{_HOME}.naive:last_value",
        summary="forecast that repeats the last value: the baseline to beat",
        tasks=("forecasting",),
        inputs=("sequence",),
        tags=frozenset({"untrained"}),
        reference="doi:10.1016/j.ijforecast.2006.03.001",
    ),
    Component(
        name="seasonal_naive",
        target=f"{_HOME}.naive:SeasonalNaive",
        summary="forecast that repeats the last season",
        tasks=("forecasting",),
        inputs=("sequence",),
        tags=frozenset({"untrained"}),
        reference="doi:10.1016/j.ijforecast.2006.03.001",
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
