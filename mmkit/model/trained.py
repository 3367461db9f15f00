"""A trained model with its transforms and modalities: predict from raw values, save, load."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from mmkit.contract import Batch, Modality, Samples
from mmkit.data.bad_values import BadValue, RejectedError, without
from mmkit.data.dataset import Dataset
from mmkit.data.decoding import decode_all
from mmkit.errors import UsageError, in_python, one_of
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.evaluated import Evaluated
from mmkit.model.explained import Explained
from mmkit.model.exported import Exported, Format
from mmkit.model.exporting.signing import is_exported
from mmkit.model.graph import Graph
from mmkit.model.network import Model
from mmkit.model.prediction import predictions
from mmkit.model.saving import Saved, read, write
from mmkit.model.trained_on import TrainedOn
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice
from mmkit.system.files import at_home
from mmkit.system.precision import Precision
from mmkit.system.settings import OnError, Settings, device_of
from mmkit.system.state import own_state

if TYPE_CHECKING:
    import pyarrow as pa

CARD = "README.md"
"""The card of a model, in its folder."""
HUB = "hub:"
"""What the name of a model of the hub begins with."""


class Read(NamedTuple):
    """Samples that a model can predict.

    Args:
        samples: decoded, without those that were skipped.
        data: their tensors; None where no sample is left.
        bad: a line for each value that could not be used.
    """

    samples: Samples
    data: Dataset | None
    bad: list[BadValue]


@dataclass(frozen=True, repr=False)
class MultimodalModel:
    """A trained model that predicts answers from raw values.

    Args:
        module: encoders, fusion and head; or the graph of an exported model, which predicts and no more.
        combination: that the module was built from.
        transforms: fitted.
        inputs: the name of the modality of each input.
        modalities: that decode the inputs.
        target: the kind of target.
        precision: of the forward pass, that of its training.
        layout: how inputs and truth are made of the columns of a table, as plain JSON; None says that each input is the
            column of its name.
        trained_on: the rows of its training, by their hashes; None where they are not known.
        card: in Markdown, what it is, how it was made, and what it is worth; None where it has none.
    """

    module: Model | Graph
    combination: Combination
    transforms: Transforms
    inputs: Mapping[str, str]
    modalities: Mapping[str, Modality]
    target: str
    precision: Precision = "float32"
    layout: Mapping[str, Any] | None = None
    trained_on: TrainedOn | None = None
    card: str | None = None

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name} ({self.inputs[name]})" for name in sorted(self.combination.encoders))
        if isinstance(self.module, Graph):
            size = f"exported as {self.module.format}"
        else:
            size = f"{sum(parameter.numel() for parameter in self.module.parameters()):,} parameters"
        return f"<MultimodalModel {self.combination.label}: {inputs} -> {self.target}, {size}>"

    @property
    def network(self) -> Model:
        """Encoders, fusion and head, as modules.

        Raises:
            UsageError: the model was exported, and has none.
        """
        if isinstance(self.module, Graph):
            raise UsageError(
                "an exported model is one graph: it predicts, and cannot be looked into, saved or exported again; give "
                "the folder of the saved model"
            )
        return self.module

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device("cpu") if isinstance(self.module, Graph) else next(self.module.parameters()).device

    @in_python()
    @own_state()
    def predict(
        self, samples: Sequence[Mapping[str, Any]], *, batch_size: int = 256, on_error: OnError = "fail"
    ) -> list[Any]:
        """An answer for each sample: for classes the label and the probability of each, for scalars the value.

        Args:
            samples: raw values by input; of a model of a table its cells by column, as in training, in a mapping of
                their input or beside each other. A value that is None or left out is missing.
            batch_size: samples per batch.
            on_error: for a value that cannot be read or transformed: "fail" raises, "missing" treats it as missing,
                "skip" gives None as the answer for its sample.

        Raises:
            UsageError: samples are no list, a sample is no mapping or has an unknown input or column, or an option that
                there is not.
            DataError: a value cannot be read or transformed, and `on_error` is "fail".
        """
        if isinstance(samples, Mapping):
            raise UsageError("predict takes a list of samples, each a mapping of names to values; got one mapping")
        if isinstance(samples, str | Path) or hasattr(samples, "__arrow_c_stream__") or hasattr(samples, "columns"):
            raise UsageError(
                "predict takes a list of samples, each a mapping of names to values; got a "
                f"{type(samples).__name__}: model.answers(data) gives the answers to a table"
            )
        if not (hasattr(samples, "__len__") and hasattr(samples, "__getitem__")):
            raise UsageError(
                f"predict takes a list of samples, each a mapping of names to values; got a {type(samples).__name__}"
                f"{': give list(...)' * hasattr(samples, '__iter__')}"
            )
        if type(batch_size) is not int or batch_size < 1:
            raise UsageError(f"batch_size is 1 or more; got {batch_size!r}")
        on_error = Settings("cpu", on_error=on_error).on_error  # checked there
        for number, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                raise UsageError(f"sample {number} is a {type(sample).__name__}; expected a mapping of names to values")
        if not len(samples):
            return []
        if self.layout is not None:
            # It imports pyarrow, which only tables need.
            of_rows: list[Any] = importlib.import_module("mmkit.model.given_rows").predicted(
                self, samples, batch_size, on_error
            )
            return of_rows
        for number, sample in enumerate(samples):
            for given in sample:
                if given not in self.inputs:
                    raise UsageError(f"sample {number} has an unknown input {given!r}; {one_of(self.inputs, given)}")
        columns = {name: [sample.get(name) for sample in samples] for name in self.inputs}
        ids = [str(number) for number in range(len(samples))]
        read = self.decoded(Samples(ids, columns, [None] * len(samples)), on_error)
        predicted: list[Any] = []
        for prediction in self.predictions(read, batch_size):
            predicted += self.transforms.truth.inverse(prediction)
        answers = dict(zip(read.samples.ids, predicted, strict=True))
        return [answers.get(sample) for sample in ids]

    def answers(
        self,
        data: Any,
        *,
        include: Sequence[str] = (),
        on_error: OnError = "fail",
        batch_size: int = 256,
        files: str | Path | None = None,
        outside: bool = False,
        decimal: Literal["point", "comma"] | None = None,
        catalog: Catalog | None = None,
    ) -> Iterator[pa.Table]:
        """The answers to the rows of a table, 4,096 rows at a time, in their order: what `mmkit predict` writes.

        A table has a name or the number of each row, the columns to include, and the answer: for classes `label` and
        `probability_NAME` of each, for a scalar `value`. Columns are read by their names, as in training; of those that
        are not there, all values are missing, and a warning says so.

        Args:
            data: a path, a frame (pandas, polars, pyarrow, duckdb), or a mapping of column to sequence.
            include: columns of the table that stand beside the answers.
            on_error: for a value that cannot be read or transformed: "fail" raises, "missing" treats it as missing,
                "skip" leaves the answer of its row empty.
            batch_size: rows that the model takes at once.
            files: where names of files in cells begin; None is the folder of the table.
            outside: True where files may lie outside of that folder.
            decimal: the sign of fractions in numbers that are strings; None is that of training.
            catalog: of the modalities, which know their files; None is what is installed.

        Raises:
            UsageError: a column to include that the table does not have, or an option that there is not.
            DataError: the table cannot be read or has no column that the model reads; or a value cannot be used, and
                `on_error` is "fail"; or, at the end, more than half of a column or an input cannot.
        """
        # They import pyarrow, which only tables need.
        named = ("model.answers", "model.table_rows", "sources.streaming")
        tables, rows, streaming = (importlib.import_module(f"mmkit.{one}") for one in named)
        asked = tables.Asked(tuple(include), on_error, batch_size, decimal)
        stream = streaming.stream_of(data, catalog or installed(), files=files, outside=outside)

        def told() -> Iterator[pa.Table]:
            broken, absent, total = rows.Broken(), Counter[str](), 0
            with in_python():
                for answered in tables.answers(self, stream, asked):
                    broken.add(answered.values, answered.unread)
                    for line in answered.absent.values() if not total else ():
                        warnings.warn(line, stacklevel=2)
                    absent.update(dict.fromkeys(answered.absent, len(answered.table)))
                    total += len(answered.table)
                    yield answered.table
                for name, count in absent.items():
                    if count < total:  # what is never there was said at the beginning
                        warnings.warn(f"column {name} is not there in {count:,} of {total:,} rows", stacklevel=2)
                broken.check(stream.name)

        return told()

    @in_python()
    def evaluate(
        self,
        data: Any,
        *,
        target: str | Sequence[str] = (),
        on_error: OnError = "fail",
        batch_size: int = 256,
        files: str | Path | None = None,
        outside: bool = False,
        decimal: Literal["point", "comma"] | None = None,
        catalog: Catalog | None = None,
    ) -> Evaluated:
        """All metrics on a labelled table, with 95 % intervals, and each class: what `mmkit evaluate` shows.

        Args:
            data: a path, a frame (pandas, polars, pyarrow, duckdb), or a mapping of column to sequence.
            target: the column with the truth, or several of numbers; none is what the model was trained to predict.
            on_error: for a value or a truth that cannot be used: "fail" raises, "missing" treats the value as missing,
                "skip" leaves its row out.
            batch_size: rows that the model takes at once.
            files: where names of files in cells begin; None is the folder of the table.
            outside: True where files may lie outside of that folder.
            decimal: the sign of fractions in numbers that are strings; None is that of training.
            catalog: of the modalities, which know their files; None is what is installed.

        Raises:
            UsageError: the table has no such column, or an option that there is not.
            DataError: the table cannot be read, no row has truth, or a value cannot be used and `on_error` is "fail";
                or more than half of a column or of an input cannot.
        """
        # Floors above, and they import pyarrow, which only tables need.
        named = ("experiments.measuring", "model.answers", "sources.streaming")
        measuring, tables, streaming = (importlib.import_module(f"mmkit.{one}") for one in named)
        stream = streaming.stream_of(data, catalog or installed(), files=files, outside=outside)
        columns = [target] if isinstance(target, str) else list(target)
        asked = tables.Asked((), on_error, batch_size, decimal)
        found: Evaluated = measuring.evaluate_table(self, stream, columns, asked)
        return found

    @in_python()
    def explain(self, sample: Mapping[str, Any], *, output: str | int | None = None, parts: bool = True) -> Explained:
        """What each input gave to the answer to a sample, and which parts of it: what `mmkit explain` shows.

        Args:
            sample: raw values by input; of a model of a table its cells by column, as in training, in a mapping of
                their input or beside each other. A value that is None or left out is missing.
            output: the class, label or number that is explained, by its name, which of the class 7 may be the number;
                None takes the likeliest, or the first number.
            parts: whether inputs are looked into, too, which needs captum.

        Raises:
            UsageError: the model has no such input, column or output, or none that can be explained.
            DataError: a value cannot be read or transformed.
            UnavailableError: inputs are to be looked into, and captum is not installed.
        """
        # A floor above, since it is made of what models do; a start does without it.
        found: Explained = importlib.import_module("mmkit.explain.explaining").explain(
            self, sample, output=output, parts=parts
        )
        return found

    def decoded(self, samples: Samples, on_error: OnError = "fail", *, whole: bool = True) -> Read:
        """Raw samples in memory and as tensors, without those that cannot be used.

        Args:
            samples: raw; their truth is not looked at.
            on_error: what to do with a value that cannot be read or transformed.
            whole: whether these are all samples; of a part of them more than half of an input may be broken.

        Raises:
            DataError: there is one, and `on_error` is "fail"; or more than half of an input are.
        """
        raw, bad = decode_all(samples, self.modalities, on_error, whole=whole)
        return self.transformed(raw, bad, on_error, whole=whole)

    def transformed(
        self, raw: Samples, bad: Sequence[BadValue] = (), on_error: OnError = "fail", *, whole: bool = True
    ) -> Read:
        """Samples whose values are in memory, as tensors, without those that a transform rejects.

        Args:
            raw: decoded.
            bad: a line for each value that could not be read.
            on_error: what to do with a value that cannot be transformed.
            whole: whether these are all samples; of a part of them more than half of an input may be broken.

        Raises:
            DataError: there is one, and `on_error` is "fail"; or more than half of an input are.
        """
        bad = list(bad)
        data = None
        while len(raw) and data is None:
            try:
                data = Dataset.of(raw, self.transforms.inputs, self.transforms.truth, augment=False)
            except RejectedError as rejected:
                raw = without(raw, rejected, on_error, whole=whole)
                bad += rejected.lines
        if data is not None:
            data = data.grouped(self.module.rowwise).to(self.device)
        return Read(raw, data, bad)

    def predictions(self, read: Read, batch_size: int = 256) -> Iterator[Batch]:
        """What the head predicts of samples, batch by batch, in their order; all answers of a model come from here."""
        if read.data is not None:
            for prediction, _ in predictions(self.module, read.data, self.precision, batch_size):
                yield prediction

    def save(self, directory: str | Path) -> None:
        """Write the model to a folder: readable JSON, and weights as safetensors.

        A model in the folder is replaced; nothing else in it changes, a card neither.

        Raises:
            UsageError: the folder holds other files and no model, or cannot be written; or the model was exported.
            ContractError: the state of a transform is not plain JSON.
        """
        write(saved_parts(self), at_home(directory))

    def push(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        message: str | None = None,
        rows: bool = False,
    ) -> str:
        """Push the model to a repository of the hub, with its card: what `mmkit push` does.

        In one commit its JSON, its weights as safetensors and its card as README.md, which replace those that are
        there. `mmkit.load("hub:OWNER/NAME")` loads it.

        Args:
            repository: OWNER/NAME; it is created if needed.
            private: whether only its owner may read the repository; None is what its owner has chosen for new ones.
            token: that may write there; None is that of HF_TOKEN, or of `hf auth login`.
            message: of the commit; None names the version of mmkit and the digest.
            rows: whether the hashes of the rows that it was trained on travel, too.

        Returns:
            The address of the commit.

        Raises:
            UsageError: it is no name of a repository; there is no token, or it has no right; or the repository is
                public, and is to be private.
            UnavailableError: the hub cannot be reached.
        """
        # Floors above, since cards are made of records; a start does without the hub's client.
        pushing = importlib.import_module("mmkit.sharing.pushing")
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "model")
            found: str = pushing.push(
                Path(folder) / "model",
                repository,
                private=private,
                token=token,
                message=message,
                rows=rows,
                card=self.card,
            ).url
        return found

    def export(
        self,
        directory: str | Path,
        format: Format = "onnx",  # noqa: A002 (what everybody calls it)
        *,
        samples: Sequence[Mapping[str, Any]] | None = None,
    ) -> Exported:
        """Write the model to a folder as one graph that runs without mmkit, checked against the model.

        Batch and lengths may be any. Raw values become tensors outside of the graph; `signature.json` in the folder
        says which tensors it takes. An exported model in the folder is replaced, where nothing else is in it.

        Args:
            directory: the folder.
            format: "onnx" for onnxruntime and others, "pt2" to go on in torch, or "aoti", compiled for this machine.
            samples: raw samples as `predict` takes them, of which the first few check it and are kept beside it; None
                makes random ones.

        Raises:
            UsageError: an unknown format, input or column, a model that answers in texts, or a folder with something
                else.
            UnavailableError: a package, a compiler, or a form of an operation in that format is not there.
            DataError: a sample cannot be read.
            MmkitError: the graph does not give what the model gives.
        """
        # A start does without the exporters.
        exporting = importlib.import_module("mmkit.model.exporting.folder")
        found: Exported = exporting.export(self, directory, format, samples)
        return found

    @staticmethod
    @own_state()
    def load(
        directory: str | Path,
        *,
        components: Mapping[str, type | Choice] | None = None,
        catalog: Catalog | None = None,
        device: torch.device | str = "cpu",
    ) -> MultimodalModel:
        """Load a model that `save` or `export` wrote. Nothing of a folder is run, and nothing is downloaded for it.

        An exported one predicts, on the CPU, as `predict`, `answers`, `mmkit evaluate` and `mmkit serve` do.

        Args:
            directory: the folder; or hub:OWNER/NAME, hub:OWNER/NAME@REVISION, of which the files of a saved model, and
                no others, are downloaded to the hub's cache.
            components: the classes of components that were given as classes, by recorded name; as choices if with
                specs.
            catalog: where names are looked up; None is what is installed.
            device: where the model is put.

        Raises:
            UsageError: torch has no such device, or not for an exported model.
            DataError: the folder holds no model, or one that is damaged or was changed; or the hub has none, or cannot
                be reached.
            UnavailableError: a component's plugin is not installed; it names the distribution and its version. Or the
                device is not available on this machine.
        """
        if str(directory).startswith(HUB):
            directory = importlib.import_module("mmkit.sharing.fetching").located(directory)
        folder, known = at_home(directory), catalog or installed()
        if is_exported(folder):
            # A start does without the exporters.
            exported = importlib.import_module("mmkit.model.exporting.loading")
            found: MultimodalModel = exported.load_exported(folder, known, components, device)
            return found
        place = device_of(device)
        saved = read(folder, known, components)
        saved.module.to(place).eval()
        return MultimodalModel(*saved, card=card_in(folder))


def card_in(folder: Path) -> str | None:
    """The card in the folder of a model; None where there is none."""
    try:
        return (folder / CARD).read_text("utf-8", "replace")
    except OSError:
        return None


def saved_parts(model: MultimodalModel) -> Saved:
    """The parts of a model that are saved: all but the card.

    Raises:
        UsageError: the model was exported.
    """
    return Saved(**{**{name: getattr(model, name) for name in Saved._fields}, "module": model.network})
