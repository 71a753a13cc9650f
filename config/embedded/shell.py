"""What `make up` keeps for a shell beside its database: `var/takeone.env` with its address and a key."""

import os
import shlex
from pathlib import Path


def var_dir() -> Path:
    """The folder of the database, made if it is not there."""
    # Not from the settings, which read the upstream's address that is still to be found.
    root = Path(__file__).resolve().parents[2]
    var = Path(os.environ.get("TAKEONE_VAR", "").strip() or root / "var")
    var.mkdir(parents=True, exist_ok=True)
    return var


def env_file() -> Path:
    """What a shell reads."""
    return var_dir() / "takeone.env"


def first_key() -> str:
    """The API key of var/takeone.env, made at the first start, with all scopes."""
    from accounts.keys.key_format import is_well_formed
    from accounts.models import ApiKey
    from config.startup.first_user import first_user

    kept = ""
    if env_file().exists():
        for line in env_file().read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name == "TAKEONE_API_KEY":
                kept = "".join(shlex.split(value)[:1])
    # One of an older form is given up, and so is one that opens nothing any more.
    if not is_well_formed(kept):
        kept = ""
    elif known := ApiKey.of_secret(kept):
        if known.status == ApiKey.Status.ACTIVE:
            return kept
        kept = ""
    # A key that the file keeps goes on working with a new database.
    return ApiKey.issue(first_user(), "make up", scope=ApiKey.Scope.ADMIN, secret=kept)[1]


def write_env(secret: str) -> None:
    """Writes var/takeone.env for this address and key."""
    values = {
        "TAKEONE_URL": os.environ["TAKEONE_URL"],
        "TAKEONE_API_KEY": secret,
    }
    if chosen := os.environ.get("SORA_BASE_URL"):
        values["SORA_BASE_URL"] = chosen
    if url := os.environ.get("TAKEONE_SIMULATOR_URL"):
        # Says whose address SORA_BASE_URL is: not one that somebody chose.
        values["TAKEONE_SIMULATOR_URL"] = url if url == chosen else ""
    path = env_file()
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
    draft.replace(path)
