"""Pack a bundle and this package into a Bento, without network and only once.

The Bento carries the source of the package and the exact versions of everything that runs it
now, so what is served is what was built, on this machine and in a container.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import spixgraph
from spixgraph.compiled import copy_compiled
from spixgraph.errors import InputError, ResourceError
from spixgraph.files import sha256_file, sha256_json, sha256_tree
from spixgraph.predict.bundle import Bundle, bundle_sha256, load_bundle
from spixgraph.scratch import scratch_folder
from spixgraph.serve.child import child_command
from spixgraph.serve.segmenter import BUNDLE_FOLDER

_COMPILER = " build-essential git"
_RECIPES = ("bento.yaml", "env/docker/Dockerfile")  # either may be what a container is built from


def build_bento(
    path: Path, *, bentofile: Path, version: int | None = None, with_cuda: bool = True
) -> str:
    """Build a Bento of a bundle in BENTOML_HOME.

    Parameters
    ----------
    path : Path
        The bundle.
    bentofile : Path
        `bentofile.yaml` of the repository.
    version : int, optional
        Of the model in the registry.
    with_cuda : bool
        Let a container have the CUDA libraries, some 2 GB; without them it runs on the CPU.

    Returns
    -------
    tag : str
        ``<model name>:[v<version>-]<hash of bundle>-<hash of code and environment>``. The same of
        all gives the same tag and no second Bento.

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
    with scratch_folder() as context:
        _write_context(context, with_cuda=with_cuda)
        code = sha256_json([sha256_tree(context), sha256_file(bentofile)])
        number = "" if version is None else f"v{version}-"
        tag = f"{bundle.card.name}:{number}{sha256[:12]}-{code[:8]}"
        model_tag = _store_model(bundle, sha256)
        if not _is_stored(bentoml.bentos, tag, lambda bento: _holds(bento, context / "src")):
            bentoml.bentos.build_bentofile(
                str(bentofile),
                name=bundle.card.name,
                version=tag.partition(":")[2],
                labels={"bundle_sha256": sha256, "data_sha256": bundle.card.data_sha256},
                build_ctx=str(context),
                reload=True,  # the service reads its arguments on import
                args={"model_tag": model_tag, "version": str(version or sha256[:12])},
            )
            made = Path(bentoml.bentos.get(tag).path)
            _compile_kernels(made / "src", path)
            _drop_compiler(made)
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


def _compile_kernels(src: Path, bundle: Path) -> None:
    """Give a Bento the machine code of its kernels, so that its first start is a warm one.

    What is compiled here already is copied; a trial with the code of the Bento makes the rest.
    """
    package = Path(spixgraph.__file__).parent
    copy_compiled(package, src / package.name)
    env = dict(os.environ)
    env.pop("NUMBA_CACHE_DIR", None)  # the machine code shall lie in the Bento
    done = subprocess.run(
        [*child_command("spixgraph.serve.warm"), str(bundle.resolve())],
        cwd=src, env=env, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ResourceError(f"the Bento cannot segment: {done.stderr.strip().splitlines()[-1]}")


def _drop_compiler(bento: Path) -> None:
    """Take the compiler out of a container that will be built: every requirement is a wheel.

    BentoML 1.4 has no setting for it: a template of one's own turns the Bento into one of the old
    form, which cannot be built outside of the working directory.
    """
    for name in _RECIPES:
        text = (bento / name).read_text(encoding="utf-8")
        if _COMPILER not in text:
            raise ResourceError(
                f"{name} of the Bento installs no {_COMPILER.strip()!r} to take out; use the "
                "version of BentoML that constraints.txt names"
            )
        (bento / name).write_text(text.replace(_COMPILER, ""), encoding="utf-8")


def _holds(bento: Path, src: Path) -> bool:
    """Whether the source files in a Bento are those of the build context, and no compiler is."""
    recipes = [(bento / name).read_text(encoding="utf-8") for name in _RECIPES]
    if any(_COMPILER in text for text in recipes):
        return False
    files = [path.relative_to(src) for path in src.rglob("*") if path.is_file()]
    there = bento / "src"
    return all(
        (there / f).is_file() and sha256_file(there / f) == sha256_file(src / f) for f in files
    )


def _write_context(folder: Path, *, with_cuda: bool) -> None:
    """Lay out the package and its pinned requirements, as `bentofile.yaml` expects them."""
    package = Path(spixgraph.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, folder / "src" / package.name, ignore=ignore)
    extras = {"onnxruntime-gpu": "[cuda,cudnn]"} if with_cuda else {}
    pins = sorted(_pinned("spixgraph", "serve"))
    lines = [f"{name}{extras.get(name, '')}=={version}\n" for name, version in pins]
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
