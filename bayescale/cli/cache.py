"""The command ``cache``: show or clear the cache of compiled programs."""

from __future__ import annotations

import time

import click

from bayescale.cli.options import as_json_option
from bayescale.cli.printing import echo, print_json
from bayescale.core.quantities import counted

_MEGABYTE = 1e6
_DAY = 86400.0


@click.command()
@click.option("--clear", "clears", is_flag=True, help="Remove every entry.")
@as_json_option
def cache(clears: bool, as_json: bool) -> None:
    """Show the cache of compiled programs: its folder, entries, size and age.

    Entries unused for 30 days are removed. Above 1 GiB, the least recently used entries are removed.
    """
    from bayescale.core import cache as kept

    folder = kept.folder()
    removed = kept.clear(folder) if clears and folder else 0
    found = kept.entries(folder) if folder else []
    about = {
        "folder": None if folder is None else str(folder),
        "entries": len(found),
        "megabytes": sum(entry.size for entry in found) / _MEGABYTE,
        "oldest_days": max(((time.time() - entry.used) / _DAY for entry in found), default=None),
        "removed": removed,
    }
    if as_json:
        print_json(about)
    elif folder is None:
        echo(f"The cache is switched off ({kept.VARIABLE} is empty).")
    else:
        age = "" if about["oldest_days"] is None else f", the oldest used {about['oldest_days']:.0f} days ago"
        cleared = f"removed {counted(removed, 'entry')}\n" if clears else ""
        echo(f"{cleared}{folder}: {counted(len(found), 'entry')}, {about['megabytes']:.1f} MB{age}")
