"""``dvla-keys``: the keys with which two hosts of one robot know each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tyro

from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError


def keys(
    action: Annotated[Literal["make", "allow", "list"], tyro.conf.Positional],
    name: str = "",
    public: str = "",
    folder: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> None:
    """Make keys, let a client in, or list what there is.

    On the control PC: dvla-keys make --name arm. On the Jetson: dvla-keys make --name jetson; then
    copy jetson.public to the control PC (dvla-keys allow --name jetson --public jetson.public) and
    arm.public to the Jetson. Secret keys (mode 600) never leave their host.

    Args:
        action: make, allow or list.
        name: Of the key.
        public: With allow: a public key, or the file that holds it.
        folder: Where the keys are; ~/.config/dvla/keys when not given.
        json: Print the result as JSON.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    from dvla.runtime.curve import allow_key, keys_folder, make_key, read_public

    place = folder or keys_folder()
    if action != "list" and not name:
        raise UsageError("--name is missing", expected=f"dvla-keys {action} --name NAME")
    if action == "make":
        made = make_key(place, name)
        _tell({"name": name, "public": made, "folder": str(place)}, json)
    elif action == "allow":
        if not public:
            raise UsageError("--public is missing", expected="a public key or its file")
        key = read_public(Path(public)) if Path(public).exists() else public
        allow_key(place, name, key)
        _tell({"allowed": name, "public": key, "folder": str(place)}, json)
    else:
        own = {path.stem: read_public(path) for path in sorted(place.glob("*.public"))}
        let_in = {
            path.stem: read_public(path) for path in sorted((place / "allowed").glob("*.public"))
        }
        if json:
            print(msgspec.json.encode({"keys": own, "allowed": let_in}).decode())
            return
        for title, found in (("keys", own), ("allowed", let_in)):
            print(f"{title} in {place}: {'' if found else 'none'}")
            for one, key in found.items():
                print(f"  {one:20s} {key}")


def _tell(result: dict[str, str], json: bool) -> None:
    if json:
        print(msgspec.json.encode(result).decode())
    else:
        print(", ".join(f"{name} {value}" for name, value in result.items()))


def main() -> int:
    """Entry point of ``dvla-keys``."""
    return run_main(lambda: tyro.cli(keys, prog="dvla-keys"))


if __name__ == "__main__":
    sys.exit(main())
