"""A disk that becomes full at any moment: a sentence, exit code 1, nothing half-written, nothing lost."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from tlkit.cli.main import main
from tlkit.errors import RunError
from tlkit.manifest import create_run, read_manifest, write_manifest

from .conftest import tree
from .test_manifest import manifest

TLKIT = [sys.executable, "-m", "tlkit"]


def test_a_manifest_is_written_whole_or_not_at_all_on_a_full_disk(tmp_path, full_disk):
    folder = create_run(tmp_path, "a", base="a", data="b")
    write_manifest(folder, manifest(status="complete"))
    before, step, failed = tree(tmp_path), 0, 0
    while True:
        step += 1
        full_disk.becomes_full_at(step)
        try:
            write_manifest(folder, manifest(status="complete", classes=["new", "names"]))
        except OSError as err:
            assert (err.strerror, err.filename) == ("No space left on device", str(folder / "run.json"))
            assert tree(tmp_path) == before
            failed += 1
        else:
            break
    full_disk.becomes_full_at(None)
    assert failed >= 3  # the file, its content, the rename
    assert read_manifest(folder)["classes"] == ["new", "names"]


def test_a_run_that_cant_be_made_on_a_full_disk_says_so(tmp_path, full_disk):
    full_disk.becomes_full_at(1)
    with pytest.raises(RunError, match="Can't make the run folder .*: No space left on device. Choose another place"):
        create_run(tmp_path, "a", base="a", data="b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("existing", [False, True], ids=["first export", "export again"])
def test_an_export_leaves_all_as_it_was_at_whichever_write_the_disk_fills(run, full_disk, capsys, existing):
    arguments = ["export", "--to", "tflite", str(run)]
    if existing:
        assert main(arguments) == 0
        # What is made again must differ, or nothing could be lost.
        sidecar = run / "artifacts" / "model.float32.tflite.json"
        sidecar.write_text(sidecar.read_text() + "\n")
    before, step, failed = tree(run), 0, 0
    while True:
        step += 1
        full_disk.becomes_full_at(step)
        capsys.readouterr()
        if main(arguments) == 0:
            break
        captured = capsys.readouterr()
        last = captured.err.splitlines()[-1]
        assert last.startswith(f"Error: No space left on device: {run.parent}/"), step
        assert "Free some space there, or work in another place" in last
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert tree(run) == before, step
        failed += 1
        assert step < 100
    full_disk.becomes_full_at(None)
    assert failed >= 7  # artifact, labels inside it, sidecar, manifest: made, written, renamed
    assert len(read_manifest(run)["artifacts"]) == 1
    assert len(list((run / "artifacts").iterdir())) == 2


def small_disk(tmp_path, size, script, **env):
    """Runs a shell script in a child for which `$DISK` is a file system of `size` of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    whole = f'mount -t tmpfs -o size={size} none "$DISK" || exit 99\n{textwrap.dedent(script)}'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", whole],
        env={**os.environ, "DISK": str(disk), "TLKIT": " ".join(TLKIT), **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"can't mount a file system here: {done.stderr.strip()}")
    return done


def test_an_export_to_a_disk_that_is_really_full_leaves_what_was_there(run, tmp_path):
    script = """
        cp -r "$RUN" "$DISK/lenet" || exit 98
        head -c 100M /dev/zero > "$DISK/filler" 2>/dev/null
        $TLKIT export --to tflite "$DISK/lenet"
        echo "code $?"
        rm "$DISK/filler"
        find "$DISK/lenet" | sort
        cmp "$RUN/run.json" "$DISK/lenet/run.json" && echo same
    """
    done = small_disk(tmp_path, "3m", script, RUN=str(run))
    lines = done.stdout.splitlines()
    assert lines[0] == "code 1", done.stderr
    assert lines[-1] == "same"
    assert not any("artifacts" in line for line in lines)
    assert "Error: No space left on device: " in done.stderr
    assert "Free some space there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_folder_for_temporary_files_is_named(run, tmp_path):
    script = """
        export TMPDIR="$DISK"
        $TLKIT export --to tflite "$RUN"
        echo "code $?"
    """
    done = small_disk(tmp_path, "64k", script, RUN=str(run))
    assert done.stdout == "code 1\n", done.stderr
    assert "No space left on device: " in done.stderr.splitlines()[-1]
    assert "TMPDIR for temporary files" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (run / "artifacts").exists()


def test_digits_that_cant_be_unpacked_on_a_full_disk_say_where(tmp_path):
    script = """
        TLKIT_CACHE="$DISK" $TLKIT finetune --base lenet5 --runs "$RUNS"
        echo "code $?"
        find "$DISK" -mindepth 1
    """
    done = small_disk(tmp_path, "64k", script, RUNS=str(tmp_path / "runs"))
    assert done.stdout == "code 1\n", done.stderr
    assert "The embedded digits can't be written to" in done.stderr
    assert "No space left on device. Set TLKIT_CACHE to a folder" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_read_only_file_system_is_named(run, tmp_path):
    script = """
        cp -r "$RUN" "$DISK/lenet"
        mount -o remount,ro "$DISK" || exit 99
        $TLKIT export --to tflite "$DISK/lenet"
        echo "code $?"
    """
    done = small_disk(tmp_path, "8m", script, RUN=str(run))
    assert done.stdout == "code 1\n", done.stderr
    assert "Error: Read-only file system: " in done.stderr
    assert "Nothing can be written there; work in another place" in done.stderr
