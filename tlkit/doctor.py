"""What this machine can do: every capability is tried in a process of its own, so that a crash is a finding."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tlkit import probes
from tlkit.conflicts import Conflict, find_conflicts, this_environment
from tlkit.data.cache import cache_folder
from tlkit.progress import Progress
from tlkit.sizes import size_text

_PATIENCE = 180  # seconds; on a busy machine, TensorFlow takes 30 to be imported
_LEAST_FREE = 10**9  # bytes: a run of VGG-16 with its artifacts takes a few hundred megabytes


@dataclass(frozen=True, kw_only=True)
class Capability:
    """Something that a machine may be able to do.

    Attributes:
        name: Of its probe.
        title: For people.
        install: How what it needs is installed.
        repair: How it is put right when it is installed and broken.
        required: Whether tlkit is of no use without it.
    """

    name: str
    title: str
    install: str
    repair: str
    required: bool = False


_ANEW = "pip install --force-reinstall --no-cache-dir"
CAPABILITIES = (
    Capability(
        name="train",
        title="train",
        install="pip install --upgrade tlkit",
        repair=f"{_ANEW} tensorflow keras",
        required=True,
    ),
    Capability(
        name="export",
        title="export to TFLite",
        install="pip install --upgrade tlkit",
        repair=f"{_ANEW} tensorflow",
        required=True,
    ),
    Capability(
        name="verify",
        title="verify TFLite",
        install="pip install --upgrade ai-edge-litert",
        repair=f"{_ANEW} ai-edge-litert",
        required=True,
    ),
    Capability(
        name="compress",
        title="compress",
        install="pip install 'tlkit[compress]'",
        repair=f"{_ANEW} 'tlkit[compress]'",
    ),
    Capability(name="onnx", title="ONNX", install="pip install 'tlkit[onnx]'", repair=f"{_ANEW} 'tlkit[onnx]'"),
    Capability(
        name="tensorrt",
        title="TensorRT",
        install="on a machine with an NVIDIA GPU: pip install tensorrt (it downloads its libraries from NVIDIA)",
        repair="install the NVIDIA driver, and then: pip install --force-reinstall tensorrt",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one capability or folder. `remedy` is empty when it is ok."""

    name: str
    title: str
    status: Literal["ok", "not installed", "broken"]
    detail: str
    remedy: str = ""
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings and all conflicts."""

    findings: list[Finding]
    conflicts: list[Conflict]

    @property
    def healthy(self) -> bool:
        """Whether this machine can train, export and verify, and no conflict waits."""
        return not self.conflicts and all(one.status == "ok" for one in self.findings if one.required)


def diagnose(runs: Path, progress: Progress) -> Diagnosis:
    """Tries everything.

    Args:
        runs: Where runs would be made.
        progress: Shows a bar.
    """
    found: dict[str, Finding] = {}
    with progress.bar("Trying", len(CAPABILITIES), "capabilities") as bar, ThreadPoolExecutor(_workers()) as pool:
        waiting = [pool.submit(try_capability, capability) for capability in CAPABILITIES]
        for done in as_completed(waiting):
            finding = done.result()
            found[finding.name] = finding
            bar.advance(note=f"{finding.title}: {finding.status}")
    folders = [
        look_at_folder("runs", runs, remedy="give another place: --runs", required=True),
        look_at_folder("cache", cache_folder(), remedy="set TLKIT_CACHE to a folder on another disk"),
    ]
    conflicts = find_conflicts(this_environment())
    tried = [found[capability.name] for capability in CAPABILITIES]
    return Diagnosis(findings=[_after(conflicts, one) for one in tried] + folders, conflicts=conflicts)


def _after(conflicts: list[Conflict], finding: Finding) -> Finding:
    """Puts first things first: a conflict is the likelier cause of what is broken."""
    if finding.status != "broken" or not conflicts:
        return finding
    return replace(finding, remedy=f"settle the conflicts first; if it is still broken: {finding.remedy}")


def _workers() -> int:
    return max(1, min(4, os.cpu_count() or 1))


def try_capability(capability: Capability) -> Finding:
    """Runs a capability's probe; what kills that process, or takes too long, is a finding too."""
    name, title, required = capability.name, capability.title, capability.required
    answer = run_probe([sys.executable, "-P", probes.__file__, name])
    if "detail" in answer:
        return Finding(name=name, title=title, required=required, status="ok", detail=answer["detail"])
    if "missing" in answer:
        return Finding(
            name=name,
            title=title,
            required=required,
            status="not installed",
            detail=f"no {answer['missing']}",
            remedy=capability.install,
        )
    return Finding(
        name=name, title=title, required=required, status="broken", detail=answer["error"], remedy=capability.repair
    )


def run_probe(command: list[str], *, patience: float = _PATIENCE) -> dict[str, str]:
    """Returns the JSON that a command prints last, or `error`: how it ended without one. `patience` is in seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=patience)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {patience:.0f} seconds"}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        pass
    if done.returncode < 0:
        return {"error": f"its process was killed by {signal.Signals(-done.returncode).name}"}
    lines = done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"]
    return {"error": lines[-1]}


def look_at_folder(name: str, folder: Path, *, remedy: str, required: bool = False) -> Finding:
    """Finds out by writing whether a folder, or the one in which it would be made, can be written and has room."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    title = f"{name} folder"
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"tlkit")
        free = shutil.disk_usage(existing).free
    except OSError as err:
        detail = f"{folder} can't be written ({existing}: {err.strerror})"
        return Finding(name=name, title=title, status="broken", detail=detail, remedy=remedy, required=required)
    detail = f"{folder}, {size_text(free)} free"
    if free < _LEAST_FREE:
        advice = f"free some of the disk (tlkit runs, tlkit cache), or {remedy}"
        return Finding(name=name, title=title, status="broken", detail=detail, remedy=advice, required=required)
    return Finding(name=name, title=title, status="ok", detail=detail, required=required)
