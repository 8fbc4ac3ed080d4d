"""What the registry asks of MLflow: model versions, their tags, aliases and artifacts."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spixgraph.errors import InputError, ResourceError
from spixgraph.mlflow_door import experiment_id, mlflow_errors, open_client, tracking_uri

log = logging.getLogger(__name__)

EXPERIMENT = "spixgraph-registry"
BUNDLE = "bundle"
EVIDENCE = "evidence"
REPORT = "gate"
"""Folders of artifacts: a bundle, where it comes from, and the report of a promotion."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model.

    Attributes
    ----------
    name : str
    number : int
    tags : mapping of str to str
    aliases : tuple of str
        Sorted.
    """

    name: str
    number: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    run_id: str = field(default="", repr=False)
    uri: str = field(default="", repr=False)

    @property
    def is_ready(self) -> bool:
        """Whether registering it came to its end."""
        return self.tags.get("status") == "ready"

    @property
    def metrics(self) -> dict[str, float]:
        """Scores on the test split, from the tags ``metric.<name>``."""
        return {k[7:]: float(v) for k, v in self.tags.items() if k.startswith("metric.")}


class ModelStore:
    """MLflow's registry at `MLFLOW_TRACKING_URI`, or in `mlflow.db` of the working directory.

    Raises
    ------
    ResourceError
        If the registry cannot be reached.
    """

    LEDGER_SUFFIX = ".promotions"

    def __init__(self) -> None:
        self.uri = tracking_uri()
        with mlflow_errors(self.uri):
            self._client = open_client(self.uri)
            self._client.search_registered_models(max_results=1)

    def names(self) -> list[str]:
        """Names of all registered models without their ledgers, sorted."""
        return [name for name in self._names() if not name.endswith(self.LEDGER_SUFFIX)]

    def _names(self) -> list[str]:
        return sorted(model.name for model in self._all(self._client.search_registered_models))

    def create_model(self, name: str) -> None:
        """Make room for versions of `name`; an existing model is left as it is."""
        if name in self._names():
            return
        try:
            with mlflow_errors(self.uri):
                self._client.create_registered_model(name)
        except ResourceError:
            if name not in self._names():  # else somebody else has just made it
                raise

    def versions(self, name: str) -> list[Version]:
        """All versions, the oldest first; raises `InputError` for an unknown model.

        `search_model_versions` returns no aliases: they come from the registered model.
        """
        if name not in self.names():
            raise InputError(
                f"no model {name!r} in the registry {self.uri}; it holds: "
                f"{', '.join(self.names()) or 'none'}; register one by `spixgraph model register`"
            )
        return self.stored_versions(name, self.aliases(name))

    def stored_versions(self, name: str, aliases: Mapping[str, int] | None = None) -> list[Version]:
        """All versions, the oldest first; none of an unknown model."""
        aliases = aliases or {}
        found = [
            Version(
                name,
                int(v.version),
                dict(v.tags),
                tuple(sorted(a for a, number in aliases.items() if number == int(v.version))),
                v.run_id,
                v.source,
            )
            for v in self._all(self._client.search_model_versions, f"name = '{name}'")
        ]
        return sorted(found, key=lambda v: v.number)

    def aliases(self, name: str) -> dict[str, int]:
        """Alias to version number."""
        with mlflow_errors(self.uri):
            found = self._client.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in found.items()}

    def upload(
        self, folder: Path, tags: Mapping[str, str], *, place: str = BUNDLE
    ) -> tuple[str, str]:
        """Store a folder as the artifact of a finished run; return run id and artifact URI."""
        with mlflow_errors(self.uri):
            run = self._client.create_run(
                experiment_id(self._client, EXPERIMENT, self.uri), tags=dict(tags)
            )
            self._client.log_artifacts(run.info.run_id, str(folder), place)
            self._client.set_terminated(run.info.run_id)
        return run.info.run_id, f"{run.info.artifact_uri}/{place}"

    def attach(self, run_id: str, folder: Path, place: str) -> None:
        """Add a folder to the artifacts of a run."""
        with mlflow_errors(self.uri):
            self._client.log_artifacts(run_id, str(folder), place)

    def create_version(self, name: str, run_id: str, uri: str, tags: Mapping[str, str]) -> int:
        """Make a version of an uploaded folder, with all its tags in one transaction."""
        with mlflow_errors(self.uri):
            made = self._client.create_model_version(name, uri, run_id=run_id, tags=dict(tags))
        return int(made.version)

    def delete_version(self, version: Version) -> None:
        """Remove a version, then the run with its artifacts."""
        with mlflow_errors(self.uri):
            self._client.delete_model_version(version.name, str(version.number))
            self._client.delete_run(version.run_id)

    def download(self, version: Version, out: Path, *, place: str = BUNDLE) -> Path:
        """Copy a folder of the artifacts of a version to below `out`; return where it is."""
        with mlflow_errors(self.uri):
            out.mkdir(parents=True, exist_ok=True)
            return Path(self._client.download_artifacts(version.run_id, place, str(out)))

    def places(self, version: Version) -> set[str]:
        """Names of the folders of artifacts that a version has."""
        with mlflow_errors(self.uri):
            return {str(found.path) for found in self._client.list_artifacts(version.run_id)}

    def set_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        """Write tags on a version, in the order given."""
        with mlflow_errors(self.uri):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, str(number), key, value)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Point an alias to a version."""
        with mlflow_errors(self.uri):
            self._client.set_registered_model_alias(name, alias, str(number))

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        with mlflow_errors(self.uri):
            self._client.delete_registered_model_alias(name, alias)

    def _all(self, search: Any, *args: str) -> list[Any]:
        """Collect what a search finds over all its pages."""
        found: list[Any] = []
        token = None
        with mlflow_errors(self.uri):
            while token is None or token:
                page = search(*args, page_token=token)
                found += page
                token = page.token or ""
        return found
