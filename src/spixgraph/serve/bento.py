"""Pack a bundle and this package into a Bento, without network and only once.

The Bento carries the source of the package and the exact versions of everything that runs it
now, so what is served is what was built, on this machine and in a container.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import spixgraph
from spixgraph.errors import InputError, ResourceError
from spixgraph.files import sha256_file, sha256_json, sha256_tree
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.serve.segmenter import BUNDLE_FOLDER


def build_bento(path: Path, *, bentofile: Path) -> str:
    """Build a Bento of a bundle in BENTOML_HOME.

    Parameters
    ----------
    path : Path
        The bundle.
    bentofile : Path
        `bentofile.yaml` of the repository.

    Returns
    -------
    tag : str
        ``<model name>:<hash of bundle, code and environment>``. The same of all three gives the
        same tag and no second Bento.

    Raises
    ------
    InputError
        If `bentofile` does not exist.
    StoredDataError
        If the bundle does not verify.
    """
    if not bentofile.is_file():
        raise InputError(f"{bentofile} does not exist; give --bentofile of the repository")
    bundle = load_bundle(path)
    sha256 = bundle_sha256(path)
    bentoml = _bentoml()
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
        context = Path(folder)
        _write_context(context)
        code = sha256_json([sha256_tree(context), sha256_file(bentofile)])
        tag = f"{bundle.card.name}:{sha256[:12]}-{code[:8]}"
        model_tag = _store_model(bundle, sha256)
        if not _is_stored(bentoml.bentos, tag, lambda bento: _holds(bento, context / "src")):
            bentoml.bentos.build_bentofile(
                str(bentofile),
                name=bundle.card.name,
                version=tag.partition(":")[2],
                labels={"bundle_sha256": sha256, "data_sha256": bundle.card.data_sha256},
                build_ctx=str(context),
                reload=True,  # the service reads its arguments on import
                args={"model_tag": model_tag},
            )
    return tag


def serve_command(tag: str) -> str:
    """Return the shell command that serves a Bento on this machine only."""
    return f"BENTOML_DO_NOT_TRACK=True bentoml serve {tag} --host 127.0.0.1 --port 3000"


def _bentoml() -> Any:
    """Import BentoML, late and with its telemetry off."""
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    try:
        import bentoml
        import bentoml.exceptions
    except ModuleNotFoundError as error:
        raise ResourceError(f"{error}; install it by: pip install 'spixgraph[serve]'") from error
    return bentoml


def _store_model(bundle: Bundle, sha256: str) -> str:
    """Copy the bundle into BentoML's model store, unless it is there; return the tag."""
    models = _bentoml().models
    tag = f"{bundle.card.name}:{sha256[:12]}"
    if not _is_stored(models, tag, lambda path: sha256_tree(path / BUNDLE_FOLDER) == sha256):
        with models.create(tag, labels={"bundle_sha256": sha256}) as model:
            shutil.copytree(bundle.path, Path(model.path) / BUNDLE_FOLDER)
    return tag


def _is_stored(store: Any, tag: str, is_whole: Callable[[Path], bool]) -> bool:
    """Whether a store has all of `tag`; what a killed build left behind is removed."""
    errors = _bentoml().exceptions
    try:
        if is_whole(Path(store.get(tag).path)):
            return True
    except errors.NotFound:
        return False
    except errors.BentoMLException:  # its yaml is missing
        pass
    store.delete(tag)
    return False


def _holds(bento: Path, src: Path) -> bool:
    """Whether the source files in a Bento are those of the build context."""
    files = [path.relative_to(src) for path in src.rglob("*") if path.is_file()]
    there = bento / "src"
    return all(
        (there / f).is_file() and sha256_file(there / f) == sha256_file(src / f) for f in files
    )


def _write_context(folder: Path) -> None:
    """Lay out the package and its pinned requirements, as `bentofile.yaml` expects them."""
    package = Path(spixgraph.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, folder / "src" / package.name, ignore=ignore)
    lines = [f"{name}=={version}\n" for name, version in sorted(_pinned("spixgraph", "serve"))]
    (folder / "requirements.txt").write_text("".join(lines), encoding="utf-8")


def _pinned(name: str, *extras: str) -> set[tuple[str, str]]:
    """Find the installed versions of all that `name` with its extras requires, without itself."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(name, frozenset(extras))]
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        distribution = metadata.distribution(item[0])
        found[canonicalize_name(item[0])] = distribution.version
        waiting += _requirements(distribution, item[1])
    del found[canonicalize_name(name)]
    return set(found.items())


def _requirements(
    distribution: metadata.Distribution, extras: frozenset[str]
) -> list[tuple[str, frozenset[str]]]:
    def applies(requirement: Requirement) -> bool:
        marker: Any = requirement.marker
        return marker is None or any(marker.evaluate({"extra": e}) for e in ("", *sorted(extras)))

    wanted = map(Requirement, distribution.requires or [])
    return [(r.name, frozenset(r.extras)) for r in wanted if applies(r)]
