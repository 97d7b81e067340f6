"""What a job takes from the store is in the store: a link out of it would show the job any file of the machine."""

from pathlib import Path

from eyewall.contracts.errors import ContractError
from eyewall.storage import Store


def leads_out(path: Path, root: Path) -> bool:
    """Whether ``path`` is, by some link, elsewhere than below ``root``."""
    return not path.resolve().is_relative_to(root.resolve())


def demand_inside(store: Store, path: str, what: str) -> None:
    """Nothing, if ``path``, the ``what`` of a job, is there and inside. Raises ContractError."""
    if not store.exists(path):
        raise ContractError(f"{what} {path!r} is not in the store {store.url!r}: put it there first")
    if store.is_local and leads_out(store.local(path), Path(store.root)):
        raise ContractError(f"{what} {path!r} leads out of the store {store.url!r}: copy it into the store")
