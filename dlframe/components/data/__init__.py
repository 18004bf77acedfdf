"""Built-in data, declared without importing torch."""

from dlframe.plugin.component import Component

__all__ = ["COMPONENTS"]

_HOME = "dlframe.components.data"

COMPONENTS: tuple[Component, ...] = (
    Component(
        name="digits",
        target=f"{_HOME}.bundled:digits",
        summary="1,797 handwritten digits of 8x8 pixels, 10 classes (ships with scikit-learn)",
        tasks=("classification",),
        inputs=("image",),
        defaults={"task": "classification"},
        reference="10.24432/C50P49",
    ),
    Component(
        name="iris",
        target=f"{_HOME}.bundled:iris",
        summary="150 iris flowers, 4 measurements, 3 species (ships with scikit-learn)",
        tasks=("classification",),
        inputs=("features",),
        defaults={"task": "classification"},
        reference="10.1111/j.1469-1809.1936.tb02137.x",
    ),
    Component(
        name="wine",
        target=f"{_HOME}.bundled:wine",
        summary="178 wines, 13 chemical measurements, 3 cultivars (ships with scikit-learn)",
        tasks=("classification",),
        inputs=("features",),
        defaults={"task": "classification"},
        reference="10.24432/C5PC7J",
    ),
    Component(
        name="breast_cancer",
        target=f"{_HOME}.bundled:breast_cancer",
        summary="569 breast tumours, 30 measurements, 2 classes (ships with scikit-learn)",
        tasks=("classification",),
        inputs=("features",),
        defaults={"task": "classification"},
        reference="10.24432/C5DW2B",
    ),
    Component(
        name="diabetes",
        target=f"{_HOME}.bundled:diabetes",
        summary="442 diabetes patients, 10 measurements, progression (ships with scikit-learn)",
        tasks=("regression",),
        inputs=("features",),
        defaults={"task": "regression"},
        reference="10.1214/009053604000000067",
    ),
    Component(
        name="mnist",
        target=f"{_HOME}.mnist:mnist",
        summary="70,000 handwritten digits of 28x28 pixels, 10 classes (a folder, or a download)",
        tasks=("classification",),
        inputs=("image",),
        defaults={"task": "classification"},
        reference="10.1109/5.726791",
    ),
    Component(
        name="fashion_mnist",
        target=f"{_HOME}.mnist:fashion_mnist",
        summary="70,000 pictures of clothes of 28x28 pixels, 10 classes (a folder, or a download)",
        tasks=("classification",),
        inputs=("image",),
        defaults={"task": "classification"},
        reference="arXiv:1708.07747",
    ),
    Component(
        name="csv",
        target=f"{_HOME}.table:Csv",
        summary="Any table in a CSV file: types inferred, gaps filled, categories encoded",
        tasks=("classification", "regression", "multilabel"),
        inputs=("features",),
    ),
    Component(
        name="timeseries_csv",
        target=f"{_HOME}.timeseries:TimeSeriesCsv",
        summary="One or more series over time in a CSV file: histories, and what followed them",
        tasks=("forecasting",),
        inputs=("sequence",),
        defaults={"task": "forecasting"},
    ),
    Component(
        name="text_csv",
        target=f"{_HOME}.text:TextCsv",
        summary="Texts in a CSV file, as words, characters, bytes or byte pairs, with targets",
        tasks=("classification", "regression", "multilabel"),
        inputs=("tokens",),
    ),
    Component(
        name="text",
        target=f"{_HOME}.text:Text",
        summary="Plain text files cut into consecutive blocks, for tasks without labels",
        inputs=("tokens",),
    ),
)
