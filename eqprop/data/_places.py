"""The folders in which data sets are kept when nobody names one."""

import os
from pathlib import Path


def environment_folder() -> Path | None:
    """What `$EQPROP_DATA` names, if it names anything."""
    value = os.environ.get("EQPROP_DATA", "")
    return Path(value).expanduser() if value else None


def user_cache() -> Path | None:
    """The user's cache folder of eqprop; `None` without the extra `data`."""
    try:
        from platformdirs import user_cache_dir
    except ImportError:
        return None
    return Path(user_cache_dir("eqprop"))
