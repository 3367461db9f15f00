"""The record of one run, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mmkit.contract import Split
from mmkit.records.breakdown import Breakdown
from mmkit.records.controls import Controls
from mmkit.records.scores import Scores
from mmkit.records.unread import Unread
from mmkit.training.privacy_accounting import PrivacySpent

SCHEMA = 2
"""The schema of records that this version of mmkit reads and writes."""
LOWER = ("log_loss", "head_loss", "mae", "rmse")
"""Metrics of which less is better, where a record does not say it."""
Purpose = Literal["comparison", "search", "yardstick", "blend"]
"""What a record is of: a run that is compared, one that chose, what needs no mmkit, or a blend of several runs."""
Stage = Literal["search", "confirm"]
"""The phase of a comparison: a fusion is searched on validation, and what was found is confirmed by fresh seeds."""


@dataclass(frozen=True)
class SampleCounts:
    """The number of samples of each split that have truth, and so were used.

    Args:
        train: training samples with truth.
        validation: validation samples with truth.
        test: test samples with truth; None where test was not read.
        without_truth: samples without truth, by split.
        missing: values that are missing of each input, by split, among the samples with truth.
    """

    train: int
    validation: int
    test: int | None
    without_truth: dict[Split, int]
    missing: dict[Split, dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fold:
    """Which samples are tested, where every sample is tested once, by models that have not seen it.

    Args:
        number: of the fold, from 1.
        of: how many there are.
    """

    number: int
    of: int


@dataclass(frozen=True)
class Loading:
    """The time that training waited for batches.

    Args:
        seconds: over all training steps.
        share: of the time of all training steps.
        workers: threads that prefetched batches.
    """

    seconds: float
    share: float
    workers: int


@dataclass(frozen=True)
class Twin:
    """How far a measurement of time is to be trusted: the same model was timed twice in the same rounds.

    Args:
        ratio: of the second time to the first; 1 where nothing disturbs.
        low: lower end of its 95 % interval; None with fewer than 6 rounds.
        high: upper end.
        spread: standard deviation of the logarithm of the time over the rounds, by its quartiles: 0.1 is about 10 %.
        reference_ms: milliseconds of a fixed program in these rounds: how fast the machine was just then.
        visible: the smallest relative difference of two times that such rounds find in four of five cases; None with
            fewer than 6.
    """

    ratio: float
    low: float | None
    high: float | None
    spread: float
    reference_ms: float
    visible: float | None = None


@dataclass(frozen=True)
class Speed:
    """The speed of a combination, timed in interleaved rounds with the other combinations of its suite.

    Args:
        inference_samples_per_s: throughput of predictions.
        train_samples_per_s: throughput of training steps.
        latency_ms: of a prediction of one sample, by percentile ("p50"); None if too few calls were timed.
        inference_batch_size: samples per prediction.
        train_batch_size: samples per training step.
        twins: of predictions and of training steps; empty in records that were written before there were any.
    """

    inference_samples_per_s: float
    train_samples_per_s: float
    latency_ms: dict[str, float | None]
    inference_batch_size: int
    train_batch_size: int
    twins: dict[Literal["inference", "train"], Twin] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """The cost of a combination apart from time.

    Args:
        parameters: number of parameters of the model.
        trainable_parameters: number of trained ones; None if costs were not measured.
        flops_per_sample: of a prediction; None if unknown.
        flops_uncounted: operations without a formula, which make `flops_per_sample` unknown.
        peak_memory_bytes: of a training step; None if unknown.
    """

    parameters: int
    trainable_parameters: int | None = None
    flops_per_sample: float | None = None
    flops_uncounted: list[str] = field(default_factory=list)
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Tried:
    """One training of a search.

    Args:
        id: of its record, which has the purpose "search".
        lr: peak learning rate.
        epochs: maximum number of epochs.
        score: on validation, of the search's metric; None if the training failed or the metric is not defined.
    """

    id: str
    lr: float
    epochs: int
    score: float | None


@dataclass(frozen=True)
class RateSearch:
    """How the learning rate of a combination was chosen: on validation, by seeds that no confirmed run has.

    Args:
        seed: of the search's trainings; within a budget the best settings get more seeds.
        metric: on validation, by which the rates were compared; empty where none were.
        tried: the trainings, the rates from the lowest to the highest, then one of twice the length if there was one;
            none where a budget has chosen the length alone.
        lr: the chosen rate.
        epochs: the chosen maximum number of epochs.
        end: whether the chosen rate is the "lowest" or the "highest" of several; then a list that goes further may
            hold a better one. None if it is neither.
    """

    seed: int
    metric: str
    tried: list[Tried]
    lr: float
    epochs: int
    end: Literal["lowest", "highest"] | None


@dataclass(frozen=True)
class Rung:
    """The place of a training in a search within a budget.

    Args:
        number: of the rung, from 1.
        of: how many rungs there are.
        epochs: of the training, at most.
        whole: how many a training to the end has at most.
        stopped: whether its combination went no further with these options; its scores are then those of a shorter
            training than the ones that are compared.
    """

    number: int
    of: int
    epochs: int
    whole: int
    stopped: bool = False


@dataclass(frozen=True)
class Phase:
    """A phase of a training.

    Args:
        name: "training" where there is one alone; else "probing", on features of untuned encoders, or "tuning".
        planned: number of epochs, which the schedule of learning rates hangs on.
        averaged: the epochs whose weights were averaged and kept.
    """

    name: Literal["training", "probing", "tuning"]
    planned: int
    averaged: list[int]


@dataclass(frozen=True)
class Reliability:
    """How honest the probabilities of a split are.

    Args:
        log_loss: mean negative log-likelihood of the truth, in nats.
        ece: expected calibration error, in 15 bins of equal width.
    """

    log_loss: float
    ece: float


@dataclass(frozen=True)
class Calibrated:
    """The temperature by which logits are divided, fitted on validation by log loss.

    Args:
        temperature: above 1 it makes probabilities less sure; 1 where none is better on validation.
        before: without it, by split.
        after: with it, by split.
    """

    temperature: float
    before: dict[Split, Reliability]
    after: dict[Split, Reliability]


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers on test of which a model was about equally sure, one of 15 bins of equal width.

    Args:
        answers: number of them; for labels each label of a sample counts as one.
        sure: the mean probability of the answer; for labels that of the label.
        right: the share of answers that were right; for labels how often the label applies.
    """

    answers: int
    sure: float
    right: float


@dataclass(frozen=True)
class Refit:
    """A training on train and validation together, with the options and the epochs that an earlier one had chosen.

    Args:
        id: of the earlier training, whose scores on validation and whose history the record has.
        samples: with truth, of both splits.
        epochs: whose weights are averaged and kept.
    """

    id: str
    samples: int
    epochs: list[int]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of one run. If the run failed, it has only what was run, the error, and the environment.

    Args:
        schema: of the record.
        id: hash over all that determines the result.
        purpose: "comparison" with other combinations; "search" for a learning rate, or within a budget, which reads no
            test (the one that was best becomes the first run of the comparison, if there are several fusions);
            "yardstick", what a user could do without mmkit, of which `fusion` says which one; or "blend", the answers
            of several runs, mixed by weights that were fitted on validation.
        status: "ok" or "failed".
        error: type and message of the error of a failed run.
        exit_code: of the error on the command line; 0 without an error.
        task: with its options.
        encoders: by input, with their options.
        fusion: with its options, or `only:INPUT`; and the balance method, as in "concat + ogm".
        head: with its options.
        objectives: with their options.
        seed: of weights, order, augmentation and dropout.
        base: that the seed was made of, with the ids of train and validation, `phase` and `index`; 0 if it was given.
        phase: "search" of runs by which a fusion is chosen on validation, "confirm" of those that the verdict rests on;
            None of runs that belong to no comparison.
        index: of the seed in its phase, from 0; the same for all combinations.
        fold: which samples were tested, where each is tested once; None where there is one split.
        metric: the metric that ranks combinations.
        epoch_metric: the metric that chose the best epoch.
        higher_is_better: whether a greater value of `metric` is better.
        lower_is_better: the metrics of which less is better; None in records that do not say it.
        metrics: on test, by name; None if a metric is not defined on the samples. Empty where test was not read, as of
            a fusion that another has beaten on validation.
        validation: metrics on validation, by name.
        intervals: 95 % confidence intervals of metrics over samples, by split ("validation", "test") and name; of runs
            that `train` makes, and of the metrics that have one.
        intervals_over: the factors whose groups were drawn for them; empty where samples were.
        binned: metrics on test that were counted in 10,000 bins, because there were more than 50 million predictions to
            keep: areas under curves are then exact to about a thousandth.
        best_epoch: the epoch with the best `epoch_metric`, from 1; 0 is the start of tuning encoders.
        averaged_epochs: the epochs whose weights were averaged and kept: that one alone, or others with it.
        phases: of the training, the last of which `best_epoch`, `averaged_epochs` and `history` are of.
        still_improving: whether the best epoch is among the last tenth of the planned ones, so that longer training may
            be better.
        search: how the learning rate was chosen; None if it was given.
        rung: the place in a search within a budget; None of other runs.
        calibrated: the temperature of the probabilities; None without one.
        refit: that the model was trained again with validation, so that its scores there are those of a model before
            it; None if it was not.
        private: what a private training has spent; None of another.
        chosen: options that components chose for themselves when they were built, by component; of a yardstick what
            was chosen on validation; of a blend the weight of each run, by id.
        history: for each epoch its number, the mean loss (None of a private training, since no noise covers it), and
            `epoch_metric` on validation.
        scores: one value a test sample, whose mean `metric` is and whose spread over samples is that of `metric`, in
            the order of the test split and as they are even where a lower one is better; of a fold in the order of all
            rows, NaN where it does not test them; in a line the name of their file. None if the metric has none.
        bits: of each test sample what the answers tell of the truth, in bits more than the frequencies of training
            (classes and labels), or the pseudo-scores of -log2(1 - R2) / 2 (a number); in a line the name of their
            file. None if not asked for, of several numbers, and of texts.
        names: of the classes, labels or numbers.
        confusion: confusion matrix on test, one row per true class; for labels one 2 x 2 matrix each. None for numbers,
            texts, and more than 100 classes.
        never: classes or labels that validation has and no answer on validation is, with how many samples have each.
        reliability: how sure the answers on test were, and how often right, from the least sure; bins without answers
            are left out. Empty for numbers and texts.
        controls: the metric on test with inputs missing and with other samples' values; None if not asked for.
        samples: the number of samples used.
        unread: number of values that could not be read or transformed, by split.
        unread_values: which those are, of a run of this process; not in a line, but in `unread.parquet`.
        encoded_once: inputs whose frozen encoder ran once; training used its features.
        encoded_in_copies: inputs whose frozen encoder ran on several augmented copies.
        encoded_anew: inputs whose frozen encoder ran in every epoch.
        fitted_on: on how many training samples the transform of an input was fitted, where they were not all: those of
            inputs larger than memory, of transforms that need all values at once.
        loading: the time that training waited for batches.
        throughput: speed of the combination; None if not measured.
        cost: parameters, FLOPs and memory.
        breakdown: what predictions cost in detail; of the chosen fusion of `--protocol full`, None of others.
        seconds: duration of the run.
        beside: how many other runs were computed at the same time, at most; above 0 `seconds` and `loading` say
            nothing about how fast it is, and tables leave them out.
        ranks: how many processes trained the model together, each with its share of every batch; `machine` is that of
            the first. Other numbers of ranks add up in another order, and give other last digits.
        run: the run as a document; `Run.of` makes the run from it.
        data: fingerprints of the content of the ids, the truth and each input, by split.
        code: hashes of the code that can change without a new version, by component.
        device: on which it ran.
        precision: of the forward pass.
        machine: on which it ran.
        software: versions of the software that computes.
        plugins: distributions of its components, with versions.
        libraries: versions of the distributions that those require.
    """

    schema: int = SCHEMA
    id: str
    purpose: Purpose = "comparison"
    status: Literal["ok", "failed"]
    error: str | None = None
    exit_code: int = 0
    task: str
    encoders: dict[str, str]
    fusion: str
    head: str
    objectives: list[str]
    seed: int
    base: int = 0
    phase: Stage | None = None
    index: int | None = None
    fold: Fold | None = None
    metric: str = ""
    epoch_metric: str = ""
    higher_is_better: bool = True
    lower_is_better: list[str] | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    validation: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[Split, dict[str, tuple[float, float]]] = field(default_factory=dict)
    intervals_over: list[str] = field(default_factory=list)
    binned: list[str] = field(default_factory=list)
    best_epoch: int | None = None
    averaged_epochs: list[int] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    still_improving: bool = False
    search: RateSearch | None = None
    rung: Rung | None = None
    calibrated: Calibrated | None = None
    refit: Refit | None = None
    private: PrivacySpent | None = None
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[dict[str, int | float | None]] = field(default_factory=list)
    scores: Scores | None = None
    bits: Scores | None = None
    names: list[str] = field(default_factory=list)
    confusion: list[Any] | None = None
    never: dict[str, int] = field(default_factory=dict)
    reliability: list[ReliabilityBin] = field(default_factory=list)
    controls: Controls | None = None
    samples: SampleCounts | None = None
    unread: dict[Split, int] = field(default_factory=dict)
    unread_values: list[Unread] = field(default_factory=list, compare=False)
    encoded_once: list[str] = field(default_factory=list)
    encoded_in_copies: list[str] = field(default_factory=list)
    encoded_anew: list[str] = field(default_factory=list)
    fitted_on: dict[str, int] = field(default_factory=dict)
    loading: Loading | None = None
    throughput: Speed | None = None
    cost: Cost | None = None
    breakdown: Breakdown | None = None
    seconds: float | None = None
    beside: int = 0
    ranks: int = 1
    run: dict[str, Any]
    data: dict[Split, dict[str, str]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    device: str
    precision: str
    machine: dict[str, Any]
    software: dict[str, Any]
    plugins: dict[str, str]
    libraries: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As plain JSON values; `Record.of` reads them."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "unread_values"}
        found["scores"] = None if self.scores is None else self.scores_file
        found["bits"] = None if self.bits is None else self.bits_file
        return {name: _plain(v) for name, v in found.items()}

    def more_is_better(self, metric: str) -> bool:
        """Whether a greater value of one of its metrics is better."""
        if metric == self.metric:
            return self.higher_is_better
        return metric not in (LOWER if self.lower_is_better is None else self.lower_is_better)

    @property
    def stopped(self) -> bool:
        """Whether it is of a training that a budget has cut short."""
        return self.rung is not None and self.rung.stopped

    @property
    def tuned(self) -> bool:
        """Whether its last phase tuned encoders, the epochs of which are an option of their own."""
        return bool(self.phases) and self.phases[-1].name == "tuning"

    @property
    def scores_file(self) -> str:
        """The file of the scores, in the folder of the suite."""
        return f"scores/{self.id}.npy"

    @property
    def bits_file(self) -> str:
        """The file of the bits, in the folder of the suite."""
        return f"scores/{self.id}.bits.npy"

    def of_samples(self) -> list[tuple[Scores, str]]:
        """What it has of each test sample, with the file of each in the folder of the suite."""
        both = ((self.scores, self.scores_file), (self.bits, self.bits_file))
        return [(values, file) for values, file in both if values is not None]

    @staticmethod
    def of(document: Mapping[str, Any], folder: Path) -> Record:
        """The record that a document describes.

        Args:
            document: what `document` gave.
            folder: of the suite; it holds the file of scores.

        Raises:
            ValueError: a field is missing or has the wrong type; the message names it.
        """
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 (heavy, and a first run reads no record)

        try:
            record = TypeAdapter(Record).validate_python({**document, "scores": None, "bits": None})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        found: dict[str, Any] = {}
        for name, expected in (("scores", record.scores_file), ("bits", record.bits_file)):
            if (given := document.get(name)) is not None:
                if given != expected:
                    raise ValueError(f"{name}: expected {expected}; got {given!r}")
                found[name] = Scores(folder / expected)
        return replace(record, **found)


def _plain(value: Any) -> Any:
    """A field as JSON values."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
