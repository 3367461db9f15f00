"""The options that `mmkit train` and `mmkit bench` share, as typer reads them. Without a value each is None, or off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Several = list[str] | None

Option = Annotated[
    Several,
    typer.Option("-o", metavar="fusion.K=V", help="Option of components, or train.K=V of training; repeatable."),
]
Epochs = Annotated[int | None, typer.Option(help="Maximum number of epochs; same as train.epochs.")]
BatchSize = Annotated[int | None, typer.Option(help="Samples per step; same as train.batch_size.")]
LearningRate = Annotated[
    float | None, typer.Option(help="Peak learning rate; same as train.lr. [the best on validation of train.rates]")
]
Limit = Annotated[int | None, typer.Option(help="Maximum number of training samples. [all]")]
Device = Annotated[str | None, typer.Option(help="Device: auto, cpu, cuda or mps. [auto]", envvar="MMKIT_DEVICE")]
Precision = Annotated[str | None, typer.Option(help="Autocast: float32, bfloat16 or float16. [float32]")]
OnError = Annotated[
    str | None, typer.Option(help="If a value cannot be used: fail, skip (its sample) or missing. [fail]")
]
Config = Annotated[Path | None, typer.Option(help="TOML file with these options.", envvar="MMKIT_CONFIG")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the feature cache.")]
Keep = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Disk for what is transformed once. [10 % of what is free, at most 20GiB]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
