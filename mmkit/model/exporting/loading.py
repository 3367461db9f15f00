"""An exported folder as a model: its transforms run in mmkit, its graph in the engine of its format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.model.description import description_in
from mmkit.model.exported import Leaf
from mmkit.model.exporting.graph import FILES, reading
from mmkit.model.exporting.signing import signature_in
from mmkit.model.graph import Graph
from mmkit.model.saving import restored
from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice


def load_exported(
    directory: Path, catalog: Catalog, components: Mapping[str, type | Choice] | None, device: torch.device | str
) -> MultimodalModel:
    """The model in an exported folder.

    Args:
        directory: the folder.
        catalog: where names are looked up.
        components: the classes of components that were given as classes, by recorded name; as choices if with specs.
        device: the CPU, or "auto".

    Raises:
        UsageError: another device.
        DataError: the folder was changed after the export, or its graph cannot be read.
        UnavailableError: what runs the graph, or the plugin of a component, is not installed.
    """
    if str(device) not in {"auto", "cpu"}:
        raise UsageError(f"{directory} holds an exported model, which computes on the CPU; got --device {device}")
    signature = signature_in(directory)
    description = description_in(directory)
    combination, modalities, transforms = restored(description, directory, catalog, components)
    graph = Graph(
        _run(directory, signature),
        [
            Leaf(one["input"], one["leaf"], one["type"], tuple(one["axes"]), one["padding"])
            for one in signature["inputs"]
        ],
        [one["name"] for one in signature["outputs"]],
        signature["format"],
    )
    return MultimodalModel(
        graph,
        combination,
        transforms,
        description["inputs"],
        modalities,
        description["target"],
        layout=description["layout"],
    )


def _run(directory: Path, signature: Mapping[str, Any]) -> Any:
    """The graph of a folder."""
    if signature["format"] not in FILES:
        raise DataError(f"{directory} has a graph of format {signature['format']!r}, which this mmkit does not know")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own parts
            names = [one["name"] for one in signature["outputs"]]
            return reading(directory / signature["graph"], signature["format"], names, torch.get_num_threads())
    except UnavailableError:
        raise
    except Exception as error:  # whatever an engine raises on what another version or machine has made
        made = ", ".join(f"{name} {version}" for name, version in signature["versions"].items())
        line = " ".join(str(error).split())[:200]
        raise DataError(
            f"{directory / signature['graph']} cannot be run here ({type(error).__name__}: {line}); it was made with "
            f"{made}: export the model again on this machine"
        ) from error
