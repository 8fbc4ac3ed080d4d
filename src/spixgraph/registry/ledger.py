"""Which version is champion: a ledger of promotions, and the aliases that follow it.

MLflow moves one alias at a time and compares nothing before it does, so two aliases can be caught
between states, and two promotions can overwrite each other. What it does give out one by one, and
whole, with all tags or not at all, are version numbers. So each change is one version of a second
registered model, `<name>.promotions`, that says on which entry it was based. An entry counts if
nothing that counts came between; of two at the same time the lower number wins. A process that is
killed has made its entry or not. The aliases `champion` and `previous` follow, and whoever comes
next brings them up to date.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from spixgraph.errors import ResourceError
from spixgraph.registry.store import ModelStore, Version

CHAMPION = "champion"
PREVIOUS = "previous"
_MAX_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """Who is champion.

    Attributes
    ----------
    champion, previous : int or None
        Numbers of versions.
    entry : int
        The last entry that counts; 0 without any.
    """

    champion: int | None = None
    previous: int | None = None
    entry: int = 0

    @property
    def aliases(self) -> dict[str, int]:
        """The aliases that say so."""
        pairs = {CHAMPION: self.champion, PREVIOUS: self.previous}
        return {alias: number for alias, number in pairs.items() if number is not None}


def ledger_name(name: str) -> str:
    """Name of the registered model that is the ledger of `name`."""
    return f"{name}{ModelStore.LEDGER_SUFFIX}"


def read_standing(store: ModelStore, name: str) -> Standing:
    """Read the ledger; without one, what the aliases say."""
    entries = store.stored_versions(ledger_name(name))
    if not entries:
        aliases = store.aliases(name)
        return Standing(aliases.get(CHAMPION), aliases.get(PREVIOUS))
    return _fold(entries)


def _fold(entries: list[Version]) -> Standing:
    standing = Standing()
    for entry in entries:
        if entry.tags.get("base") == str(standing.entry):
            standing = Standing(
                _number(entry.tags.get(CHAMPION)), _number(entry.tags.get(PREVIOUS)), entry.number
            )
    return standing


def append(
    store: ModelStore,
    name: str,
    base: Standing,
    *,
    champion: int,
    previous: int | None,
    report: tuple[str, str],
    notes: Mapping[str, str],
) -> Standing:
    """Write one entry on top of `base`, and bring the aliases up to date.

    Parameters
    ----------
    report : (run id, artifact URI)
        Of the report that speaks for the change.
    notes : mapping
        Further tags of the entry.

    Raises
    ------
    ResourceError
        If another change came first; nothing is changed then.
    """
    store.create_model(ledger_name(name))
    tags = {
        **notes,
        "base": str(base.entry),
        CHAMPION: str(champion),
        PREVIOUS: "" if previous is None else str(previous),
    }
    number = store.create_version(ledger_name(name), *report, tags)
    standing = settle(store, name)
    if number not in _counting(store, name):
        raise ResourceError(
            f"another change of the champion of {name} came first: it is version "
            f"{standing.champion} now; look at it and try again"
        )
    return standing


def _counting(store: ModelStore, name: str) -> set[int]:
    """Numbers of the entries that count."""
    counting, last = set(), 0
    for entry in store.stored_versions(ledger_name(name)):
        if entry.tags.get("base") == str(last):
            last = entry.number
            counting.add(last)
    return counting


def settle(store: ModelStore, name: str) -> Standing:
    """Bring the aliases up to date; look again afterwards, since the ledger may have grown."""
    for _ in range(_MAX_ROUNDS):
        standing = read_standing(store, name)
        wanted, there = standing.aliases, store.aliases(name)
        stale = [a for a in (PREVIOUS, CHAMPION) if wanted.get(a) != there.get(a)]
        if not stale:
            return standing
        for alias in stale:
            if alias in wanted:
                store.set_alias(name, alias, wanted[alias])
            else:
                store.delete_alias(name, alias)
    raise ResourceError(f"others keep changing the champion of {name}; try again later")


def _number(text: str | None) -> int | None:
    return int(text) if text else None
