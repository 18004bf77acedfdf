"""Built-in regularizers, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.regularizers"
_FLOATS = ("features", "image", "sequence")

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="l1",
        target=f"{_HOME}.penalties:L1",
        summary="add the sum of the weights' sizes to the loss",
        reference="doi:10.1111/j.2517-6161.1996.tb02080.x",
    ),
    Component(
        name="l2",
        target=f"{_HOME}.penalties:L2",
        summary="add the sum of the squared weights to the loss",
        reference="doi:10.1080/00401706.1970.10488634",
    ),
    Component(
        name="elastic_net",
        target=f"{_HOME}.penalties:ElasticNet",
        summary="L1 and L2 together",
        reference="doi:10.1111/j.1467-9868.2005.00503.x",
    ),
    Component(
        name="dropout",
        target=f"{_HOME}.dropout:DropoutEverywhere",
        summary="set hidden values to zero at random",
        reference="https://jmlr.org/papers/v15/srivastava14a.html",
    ),
    Component(
        name="max_norm",
        target=f"{_HOME}.constraints:MaxNorm",
        summary="limit the length of each unit's incoming weights",
        reference="https://jmlr.org/papers/v15/srivastava14a.html",
    ),
    Component(
        name="spectral_norm",
        target=f"{_HOME}.constraints:SpectralNorm",
        summary="divide each layer's weight by its largest singular value",
        reference="arXiv:1802.05957",
    ),
    Component(
        name="gradient_clipping",
        target=f"{_HOME}.gradient_clipping:GradientClipping",
        summary="limit the length or the values of the gradient",
        reference="arXiv:1211.5063",
    ),
    Component(
        name="input_noise",
        target=f"{_HOME}.input_noise:InputNoise",
        summary="add Gaussian noise to the inputs",
        inputs=_FLOATS,
        reference="doi:10.1162/neco.1995.7.1.108",
    ),
    Component(
        name="augment",
        target=f"{_HOME}.augment:Augment",
        summary="flip, turn, shift images and add noise at random, on the device",
        inputs=("image",),
        reference="arXiv:1910.02190",
    ),
    Component(
        name="label_smoothing",
        target=f"{_HOME}.targets:LabelSmoothing",
        summary="move a share of each target evenly to all classes",
        tasks=("classification",),
        reference="arXiv:1512.00567",
    ),
    Component(
        name="mixup",
        target=f"{_HOME}.mixing:Mixup",
        summary="train on weighted means of pairs of examples",
        tasks=("classification", "regression"),
        inputs=_FLOATS,
        reference="arXiv:1710.09412",
    ),
    Component(
        name="cutmix",
        target=f"{_HOME}.mixing:CutMix",
        summary="replace a rectangle of each image by another image's",
        tasks=("classification",),
        inputs=("image",),
        reference="arXiv:1905.04899",
    ),
    Component(
        name="adversarial_training",
        target=f"{_HOME}.adversarial:AdversarialTraining",
        summary="train on inputs changed to raise the loss (FGSM or PGD)",
        tasks=("classification", "regression", "multilabel"),
        inputs=_FLOATS,
        reference="arXiv:1706.06083",
    ),
    Component(
        name="early_stopping",
        target=f"{_HOME}.early_stopping:EarlyStopping",
        summary="stop when the monitored value no longer improves",
        reference="doi:10.1007/3-540-49430-8_3",
    ),
    Component(
        name="weight_averaging",
        target=f"{_HOME}.weight_averaging:WeightAveraging",
        summary="evaluate and keep a running mean of the weights (EMA or SWA)",
        reference="arXiv:1803.05407",
    ),
)
