"""The ledger: whole records survive anything; a torn one is cut; one live owner at a time."""

import fcntl
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from processes import gone_within

from policysearch.errors import FormatError, RunError
from policysearch.ledger import (
    LEDGER_FORMAT,
    LEDGER_VERSION,
    Ledger,
    LedgerReader,
    owner_of,
    read_ledger,
)

HEADER = {"format": LEDGER_FORMAT, "version": LEDGER_VERSION}
RECORDS = [HEADER, {"event": "task", "key": "a", "score": 0.1}, {"event": "task", "key": "ü\n☃"}]
LAST = {"event": "task", "key": "last ☃", "metrics": [{"score": 1e-300}], "n": [1, 2, {"x": None}]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def write(path: Path, *records: dict) -> bytes:
    with Ledger(path) as ledger:
        for record in records:
            ledger.append(record)
    return path.read_bytes()


def start(code: str, *arguments: object) -> subprocess.Popen:
    """A real second process that works on a ledger; it says `ready` and waits for a line."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


OWNER = """
    import sys
    from pathlib import Path
    from policysearch.ledger import Ledger
    ledger = Ledger(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_was_appended_is_read_back(path):
    raw = write(path, *RECORDS, LAST)
    assert read_ledger(path) == [*RECORDS, LAST]
    assert raw.count(b"\n") == 4
    with Ledger(path) as ledger:
        assert ledger.records == [*RECORDS, LAST]
        ledger.append({"event": "more"})
        assert ledger.records[-1] == {"event": "more"}
    assert path.read_bytes().startswith(raw)


def test_a_tail_torn_at_any_byte_is_cut_before_the_next_append(path):
    kept = write(path, *RECORDS)
    with Ledger(path) as ledger:
        ledger.append(LAST)
    last = path.read_bytes()[len(kept) :]
    assert b"\xe2" in last, "an offset within a character is among them"
    for n_bytes in range(len(last)):
        path.write_bytes(kept + last[:n_bytes])
        assert read_ledger(path) == RECORDS
        raw = write(path, {"event": "next"})
        assert raw.startswith(kept + b'{"event":"next"')
        assert read_ledger(path) == [*RECORDS, {"event": "next"}]


def test_a_header_torn_at_any_byte_starts_the_ledger_anew(path):
    raw = write(path, HEADER)
    for n_bytes in range(len(raw)):
        path.write_bytes(raw[:n_bytes])
        assert write(path, HEADER) == raw


@pytest.mark.parametrize("n_zeros", [1, 5000])
def test_a_tail_of_zeros_is_cut(path, n_zeros):
    """What some file systems leave after a loss of power."""
    kept = write(path, *RECORDS)
    path.write_bytes(kept + b"\0" * n_zeros)
    assert write(path) == kept


DAMAGES = {
    "cut": lambda line: line[:-3],
    "no object": lambda _: b"[1]",
    "empty": lambda _: b"",
    "zeros": lambda line: b"\0" * len(line),
    "not UTF-8": lambda _: b'{"a": "\xff\xfe"}',
    "deep": lambda _: b"[" * 100_000,
    "merged": lambda line: line + line,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_damage_elsewhere_is_named_and_left_as_it_is(path, number, damage):
    lines = write(path, *RECORDS, LAST).split(b"\n")
    lines[number - 1] = DAMAGES[damage](lines[number - 1])
    raw = b"\n".join(lines) + b'{"torn'
    path.write_bytes(raw)
    for reader in (read_ledger, Ledger):
        with pytest.raises(FormatError, match=f"line {number} is damaged"):
            reader(path)
    assert path.read_bytes() == raw
    path.write_bytes(write_elsewhere(path.parent))  # the lock was given up
    Ledger(path).close()


def removed(lines):
    return [*lines[:2], *lines[3:]]


def added_twice(lines):
    return [*lines[:3], *lines[2:]]


def swapped(lines):
    return [lines[0], lines[2], lines[1], *lines[3:]]


def changed(lines):
    return [*lines[:2], lines[2].replace(b'"key":"', b'"key":"x'), *lines[3:]]


def added_by_hand(lines):
    return [*lines[:2], b'{"event":"task","key":"mine"}', *lines[2:]]


def changed_last(lines):
    return [*lines[:3], lines[3].replace(b"1e-300", b"2e-300"), *lines[4:]]


def without_its_link(lines):
    return [*lines[:2], lines[2][:-20] + b"}", *lines[3:]]


@pytest.mark.parametrize(
    ("alter", "number"),
    [
        (removed, 3), (added_twice, 4), (swapped, 2), (changed, 3), (added_by_hand, 3),
        (changed_last, 4), (without_its_link, 3),
    ],
)  # fmt: skip
def test_records_altered_by_hand_are_named_and_left_as_they_are(path, alter, number):
    lines = write(path, *RECORDS, LAST).split(b"\n")
    raw = b"\n".join(alter(lines))
    assert raw != b"\n".join(lines)
    path.write_bytes(raw)
    for reader in (read_ledger, Ledger):
        with pytest.raises(FormatError, match=f"line {number} does not belong after line"):
            reader(path)
    assert path.read_bytes() == raw


def test_records_appended_together_are_as_those_appended_one_by_one(path, tmp_path):
    with Ledger(path) as ledger:
        ledger.append(HEADER)
        ledger.append(*RECORDS[1:], LAST)
        ledger.append()
    (tmp_path / "other").mkdir()
    assert path.read_bytes() == write(tmp_path / "other" / "ledger.jsonl", *RECORDS, LAST)


def test_of_records_appended_together_none_is_kept_when_the_disk_is_full(path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from policysearch.ledger import Ledger
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = Path(sys.argv[1])
        with Ledger(path) as ledger:
            limit = path.stat().st_size + 100
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            ledger.append(*({"event": "task", "key": str(i)} for i in range(9)))
    """
    kept = write(path, *RECORDS)
    child = start(code, path)
    _, text = child.communicate()
    assert "RunError" in text.splitlines()[-1]
    assert path.read_bytes() == kept


def test_a_reader_gets_every_record_once_and_none_that_is_torn(path):
    raw = write(path, *RECORDS, LAST)
    path.write_bytes(b"")
    reader, seen = LedgerReader(path), []
    for n_bytes in range(len(raw) + 1):
        path.write_bytes(raw[:n_bytes])
        seen += reader.read()
        assert len(seen) == raw[:n_bytes].count(b"\n")
    assert seen == [*RECORDS, LAST]
    assert reader.read() == []


def test_a_reader_finds_damage_where_it_is(path):
    raw = write(path, *RECORDS)
    reader = LedgerReader(path)
    assert len(reader.read()) == 3
    path.write_bytes(raw + b'{"event":"task","key":"mine"}\n')
    with pytest.raises(FormatError, match="line 4 does not belong"):
        reader.read()


GOLDEN = Path(__file__).parent / "golden"


def test_a_ledger_of_version_1_is_read_and_continued_without_links(path):
    raw = (GOLDEN / "ledger_v1.jsonl").read_bytes()
    path.write_bytes(raw + b'{"torn')
    with Ledger(path) as ledger:
        assert [r.get("event") for r in ledger.records[:2]] == [None, "trial"]
        assert len(ledger.records) == 38
        ledger.append({"event": "more"})
    assert path.read_bytes() == raw + b'{"event":"more"}\n'


def test_the_ledger_of_version_2_is_read_as_it_was(path):
    assert read_ledger(GOLDEN / "ledger_v2.jsonl") == [
        {"format": "policysearch.ledger", "version": 2, "seed": 3},
        {"event": "trial", "number": 0, "score": 0.5, "metrics": [{"score": 0.5}]},
        {"event": "task", "key": "confirm/ü/0", "message": "a\nb"},
        {"event": "void", "keys": ["trial/0"]},
    ]


def write_elsewhere(folder: Path) -> bytes:
    (folder / "other").mkdir()
    return write(folder / "other" / "ledger.jsonl", *RECORDS)


def test_a_file_of_another_kind_is_refused(path):
    path.write_text('{"format": "something else"}\n')
    with pytest.raises(FormatError, match="not the header of a policysearch run"):
        Ledger(path)


@pytest.mark.parametrize("version", [LEDGER_VERSION + 1, 10**30])
def test_a_newer_version_is_refused(path, version):
    path.write_text(json.dumps(HEADER | {"version": version}) + "\n")
    with pytest.raises(FormatError, match="newer policysearch"):
        Ledger(path)


@pytest.mark.parametrize("version", ["1", None, 0, 1.5, True])
def test_a_version_that_is_none_is_refused(path, version):
    path.write_text(json.dumps(HEADER | {"version": version}) + "\n")
    with pytest.raises(FormatError, match="header"):
        Ledger(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused(path, value):
    kept = write(path, *RECORDS)
    with Ledger(path) as ledger:
        with pytest.raises(ValueError, match="JSON compliant"):
            ledger.append({"event": "task", "metrics": [{"score": value}]})
        assert ledger.records == RECORDS
    assert path.read_bytes() == kept


def test_text_that_utf8_has_no_bytes_for_is_kept(path):
    name = os.fsdecode(b"caf\xe9.png")
    write(path, HEADER, {"message": name})
    assert read_ledger(path)[1] == {"message": name}
    path.read_text("utf-8")


def test_a_second_owner_is_refused_with_the_name_of_the_first(path):
    write(path, *RECORDS)
    owner = start(OWNER, path)
    try:
        assert owner.stdout.readline() == "ready\n"
        before = path.read_bytes()
        assert f"process {owner.pid} on " in owner_of(path)
        with pytest.raises(RunError, match=f"owned by process {owner.pid} on ") as caught:
            Ledger(path)
        name = re.search(r"on (\S+) \(user (\S+), since (.*)\), which", str(caught.value))
        assert name.groups()[:2] == (socket.gethostname(), getpass.getuser())
        since = datetime.strptime(name[3], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=timezone.utc)
        assert abs((datetime.now(timezone.utc) - since).total_seconds()) < 60
        second = start(OWNER, path)
        _, text = second.communicate()
        assert f"owned by process {owner.pid} on " in text
        assert path.read_bytes() == before
        assert read_ledger(path) == RECORDS
    finally:
        owner.communicate()
    assert owner_of(path) is None
    Ledger(path).close()


def test_somebody_who_looks_for_an_owner_does_not_keep_one_out(path):
    """It takes the lock for a moment; here it is caught with it in its hand."""
    Ledger(path).close()
    with path.with_name(".ledger.jsonl.lock").open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        assert owner_of(path) is None
        threading.Timer(0.1, fcntl.flock, (looked, fcntl.LOCK_UN)).start()
        Ledger(path).close()


def test_a_run_that_never_was_has_no_owner(path):
    assert owner_of(path) is None


def test_the_lock_of_a_killed_owner_is_taken_at_once(path):
    owner = start(OWNER, path)
    try:
        assert owner.stdout.readline() == "ready\n"
        owner.send_signal(signal.SIGKILL)
        assert gone_within(10, owner.pid)
        started = time.monotonic()
        Ledger(path).close()
        assert time.monotonic() - started < 1
    finally:
        owner.kill()
        owner.communicate()


def test_a_stopped_owner_is_alive(path):
    owner = start(OWNER, path)
    try:
        assert owner.stdout.readline() == "ready\n"
        owner.send_signal(signal.SIGSTOP)
        with pytest.raises(RunError, match=f"process {owner.pid} "):
            Ledger(path)
    finally:
        owner.send_signal(signal.SIGCONT)
        owner.communicate()


FULL_DISK = """
    import json, resource, signal, sys
    from pathlib import Path
    from policysearch.errors import RunError
    from policysearch.ledger import Ledger
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = Path(sys.argv[1])
    record = {"event": "task", "key": "x" * 40}
    chain = ',"chain":"12345678"'
    length = len(json.dumps(record, separators=(",", ":")) + chain) + 1
    with Ledger(path) as ledger:
        size = path.stat().st_size
        for room in range(length):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
            n = len(ledger.records)
            try:
                ledger.append(record)
            except RunError as error:
                assert "File too large" in str(error) and "policysearch resume" in str(error)
            else:
                sys.exit("there was room")
            assert path.stat().st_size == size and len(ledger.records) == n, room
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + length, resource.RLIM_INFINITY))
        ledger.append(record)
"""


def test_a_full_disk_at_any_byte_keeps_all_earlier_records(path):
    """The child meets the limit after every number of bytes of one record, then has room."""
    kept = write(path, *RECORDS)
    child = start(FULL_DISK, path)
    _, text = child.communicate()
    assert (child.returncode, text) == (0, "")
    assert path.read_bytes().startswith(kept)
    assert read_ledger(path) == [*RECORDS, {"event": "task", "key": "x" * 40}]
    write(path, {"event": "after"})
    assert read_ledger(path)[-1] == {"event": "after"}


def test_a_full_disk_at_the_header_leaves_a_run_that_can_start(path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from policysearch.ledger import Ledger
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))
        Ledger(Path(sys.argv[1])).append({"format": "policysearch.ledger", "version": 1})
    """
    child = start(code, path)
    _, text = child.communicate()
    assert "RunError" in text.splitlines()[-1]
    assert path.read_bytes() == b""
    assert write(path, *RECORDS).count(b"\n") == 3


def test_a_missing_directory_is_told_as_such(tmp_path):
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        Ledger(tmp_path / "gone" / "ledger.jsonl")


def test_reading_works_while_another_process_appends(path):
    code = """
        import sys
        from pathlib import Path
        from policysearch.ledger import Ledger
        with Ledger(Path(sys.argv[1])) as ledger:
            ledger.append({"format": "policysearch.ledger", "version": 1})
            print("ready", flush=True)
            for i in range(300):
                ledger.append({"event": "task", "key": str(i), "text": "☃" * 3000})
    """
    writer = start(code, path)
    try:
        assert writer.stdout.readline() == "ready\n"
        seen = [1]
        while writer.poll() is None:
            records = read_ledger(path)
            assert [r["key"] for r in records[1:]] == [str(i) for i in range(len(records) - 1)]
            seen.append(len(records))
    finally:
        _, text = writer.communicate()
    assert (writer.returncode, text) == (0, "")
    assert len(read_ledger(path)) == 301
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "it was read in the middle"


def test_the_lock_is_not_left_to_children(path):
    """A child that outlives its parent must not keep the run closed."""
    code = """
        import subprocess, sys
        from pathlib import Path
        from policysearch.ledger import Ledger
        ledger = Ledger(Path(sys.argv[1]))
        print(subprocess.Popen(["sleep", "100"], stdout=2).pid, flush=True)
    """
    parent = start(code, path)
    child = int(parent.stdout.readline())
    try:
        parent.wait(30)
        Ledger(path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()


def test_closing_twice_closes_nothing_else(path):
    ledger = Ledger(path)
    ledger.close()
    with path.open() as other:
        ledger.close()
        assert other.read() == ""


def test_a_refused_ledger_leaves_no_file_open(path):
    path.write_text("damaged\n\n")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FormatError):
        Ledger(path)
    assert len(os.listdir("/proc/self/fd")) == before
