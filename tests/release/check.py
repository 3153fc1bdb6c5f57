"""Check a release: build wheel and sdist, install each into a bare environment, and run the main job there.

    python tests/release/check.py [--out dist] [--python PYTHON …]

Needs the extra ``release``. It leaves wheel, sdist and the SBOM (CycloneDX) in the output folder, and the exit code is
1 if anything fell short.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRIVATE = (".github", ".venv", "demo/", "__pycache__", ".pyc")  # parts of names that no archive may hold
# Without assertions, and with an error for every warning, also of dependencies. Not without docstrings (-OO): there
# ArviZ 1.3 ends with an error of its own.
FLAGS: dict[str, tuple[str, ...]] = {"plain": (), "optimized": ("-O",), "strict": ("-W", "error")}
TYPED = """
import bayescale as bs

fit: bs.Fit = bs.fit("hoffmann2022", "additive")
choice = bs.decide(bs.Allocation("5.76e23"), fit)
print(bs.forecast(fit, params="70B", tokens="1.4T").summary, choice)
"""


def run(*command: object, where: Path | None = None) -> str:
    """Return what a command prints; raise with its errors if it fails."""
    free = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(one) for one in command], cwd=where, env=free, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def built(out: Path) -> list[Path]:
    """Return the wheel and the sdist, made anew."""
    for old in out.glob("bayescale-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)
    found = sorted(out.glob("bayescale-*"))
    run(sys.executable, "-m", "twine", "check", "--strict", *found)
    return found


def names_of(archive: Path) -> list[str]:
    """Return the names of the files that an archive holds."""
    if archive.suffix == ".whl":
        return zipfile.ZipFile(archive).namelist()
    with tarfile.open(archive) as file:
        return file.getnames()


def check_names(archive: Path) -> None:
    """Refuse an archive that holds what is not to be released, or lacks what is."""
    names = names_of(archive)
    if strays := [name for name in names if any(part in name for part in PRIVATE)]:
        raise SystemExit(f"{archive.name} holds {', '.join(strays[:5])}")
    for needed in ("bayescale/py.typed", "models/default.toml", "data/hoffmann2022/runs.csv", "LICENSE"):
        if not any(name.endswith(needed) for name in names):
            raise SystemExit(f"{archive.name} lacks {needed}")


def environment(folder: Path, python: str) -> Path:
    """Return the Python of a new environment that holds nothing."""
    run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def main_job(python: Path, folder: Path, *flags: str) -> dict[str, float]:
    """Fit, check, forecast, decide and report on the command line, in an empty folder; return the split."""
    folder.mkdir()
    tool = [python, *flags, "-m", "bayescale"]
    run(*tool, "fit", "hoffmann2022", "--model", "additive", "--where", 'exclusion=""', "--out", "fit.nc", where=folder)
    said = run(*tool, "forecast", "fit.nc", "--params", "70B", "--tokens", "1.4T", "--json", where=folder)
    (row,) = json.loads(said)
    if not row["q05"] < row["q50"] < row["q95"]:
        raise SystemExit(f"a forecast without an interval: {row}")
    found = json.loads(run(*tool, "decide", "allocation", "fit.nc", "--flops", "5.76e23", "--json", where=folder))
    run(*tool, "report", "fit.nc", "--flops", "5.76e23", "--out", "page.html", where=folder)
    held = {path.name for path in folder.iterdir()}
    if held != {"fit.nc", "page.html"}:
        raise SystemExit(f"the job left {', '.join(sorted(held))}")
    return {name: float(found[name]) for name in ("params", "tokens")}


def check_types(python: Path, folder: Path) -> None:
    """Check a user's script against the types of the installed package."""
    script = folder / "typed.py"
    script.write_text(TYPED, encoding="utf-8")
    run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, script, where=folder)


def write_sbom(python: Path, path: Path) -> None:
    """Write what an environment holds, without the paths of this machine."""
    said = json.loads(run(sys.executable, "-m", "cyclonedx_py", "environment", python, "--output-format", "JSON"))
    for one in said["components"]:
        links = one.get("externalReferences", [])
        one["externalReferences"] = [link for link in links if not link["url"].startswith("file:")]
    text = json.dumps(said, indent=2)
    if "file:" in text or str(python.parents[2]) in text:
        raise SystemExit("the SBOM holds paths of this machine")
    path.write_text(text + "\n", encoding="utf-8")


def released(out: Path, pythons: Sequence[str]) -> None:
    """Build, and try every archive with every Python."""
    out.mkdir(exist_ok=True)
    archives, splits = built(out), {}
    for archive in archives:
        check_names(archive)
    with tempfile.TemporaryDirectory() as folder:
        for i, (archive, version) in enumerate((a, v) for v in pythons for a in archives):
            here = Path(folder) / str(i)
            here.mkdir()
            python = environment(here / "env", version)
            run(python, "-m", "pip", "install", "--quiet", archive)
            where = Path(run(python, "-c", "import bayescale; print(bayescale.__file__)", where=here).strip())
            if here.resolve() not in where.resolve().parents:
                raise SystemExit(f"{archive.name}: imported {where}")
            for name, flags in FLAGS.items():
                splits[archive.name, version, name] = main_job(python, here / name, *flags)
            check_types(python, here)
            found = splits[archive.name, version, "plain"]
            print(f"{archive.name} on {run(python, '--version').strip()}: {found}", flush=True)
            if archive.suffix == ".whl" and version == pythons[0]:
                write_sbom(python, out / "bayescale.cdx.json")
    low, high = (end(found["params"] for found in splits.values()) for end in (min, max))
    if high > 1.01 * low:
        raise SystemExit(f"archives disagree: {low:.4g} to {high:.4g} params")
    print(f"wheel, sdist and SBOM are in {out}")


def main() -> None:
    """Parse the command line and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", nargs="+", default=[sys.executable], help="interpreters to try")
    given = parser.parse_args()
    released(given.out, given.python)


if __name__ == "__main__":
    main()
