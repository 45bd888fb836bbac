"""Pulling against a local server and a made-up wheel: resumption, hashes, atomic arrival, clear errors."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diptych import weights, weights_transfer
from diptych.exceptions import WeightsError
from diptych.models.common.detector_list import DETECTORS
from diptych.weights import WeightSpec, Wheel

BODY = bytes(range(256)) * 4000
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY; ``script`` holds what the next answers do wrong."""

    script: list[str]
    seen: list[str]


class Handler(BaseHTTPRequestHandler):
    """Understands Range."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the script says."""
        wrong = self.server.script.pop(0) if self.server.script else ""
        asked = self.headers.get("Range", "")
        self.server.seen.append(asked)
        if wrong == "404":
            self.send_error(404)
            return
        body = BODY[::-1] if wrong == "other" else BODY
        start = int(asked[6:-1]) if asked and wrong != "no range" else 0
        if start >= len(body) and asked:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : len(body) // 2] if wrong == "cut" else body[start:])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.script, found.seen = [], []
    thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def entry(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightSpec]:
    before = weights.cache()
    weights.set_cache(tmp_path / "cache")
    url = f"http://127.0.0.1:{server.server_address[1]}/m-{SHA[:8]}.pth"
    made = WeightSpec("m", f"m-{SHA[:8]}.pth", "a test", "none", "file", sha256_prefix=SHA[:8], urls=(url,))
    monkeypatch.setitem(weights.REGISTRY, "m", made)
    monkeypatch.setattr(weights_transfer.time, "sleep", lambda _: None)
    yield made
    weights.set_cache(before)


def leftovers() -> list[str]:
    return [p.name for p in weights.cache().rglob("*.part")]


def test_absent_weights_say_which_command_to_run(entry: WeightSpec) -> None:
    with pytest.raises(WeightsError, match=r"diptych weights pull m .*diptych weights import"):
        weights.path("m")
    with pytest.raises(WeightsError, match="known are"):
        weights.path("nonsense")
    assert weights.state("m") == "absent"


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
    part = weights.cache() / "m" / f".{entry.file}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY[:1000])
    assert weights.pull("m")[0].read_bytes() == BODY and server.seen == ["bytes=1000-"]


@pytest.mark.parametrize("content", [BODY, BODY + b"more", b"x" * 5000])
def test_a_part_that_is_complete_too_long_or_foreign(entry: WeightSpec, content: bytes) -> None:
    part = weights.cache() / "m" / f".{entry.file}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    assert weights.pull("m")[0].read_bytes() == BODY and not leftovers()


def test_a_server_without_ranges(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["cut", "no range"]
    assert weights.pull("m")[0].read_bytes() == BODY


def test_a_wrong_file_is_not_kept(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["other"] * 10
    with pytest.raises(WeightsError, match=r"SHA-256 is .* expected " + SHA[:8]):
        weights.pull("m")
    assert weights.state("m") == "absent"


def test_a_server_that_has_it_not(entry: WeightSpec, server: Server) -> None:
    server.script[:] = ["404"] * 10
    with pytest.raises(WeightsError, match=r"answered 404[\s\S]*weights import"):
        weights.pull("m")


def test_corruption_is_noticed_and_repaired(entry: WeightSpec) -> None:
    file = weights.pull("m")[0]
    file.write_bytes(BODY[:-1] + b"!")
    assert weights.verify()["m"] == "corrupt"
    weights.pull("m")
    assert weights.state("m") == "present"


def test_import(entry: WeightSpec, tmp_path: Path) -> None:
    file = tmp_path / "anything.pth"
    file.write_bytes(BODY)
    with pytest.raises(WeightsError, match="not registered"):
        weights.import_file(file)
    assert weights.import_file(file, "m").name == "m" and weights.path("m").read_bytes() == BODY
    own = weights.import_file(file, "my-net")
    assert weights.digest("my-net") == SHA == own.sha256 and own in weights.list_weights()
    assert weights.spec("my-net").loader == "state_dict"
    (tmp_path / entry.file).write_bytes(BODY)
    assert weights.import_file(tmp_path / entry.file).name == "m"
    file.write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not 'm'"):
        weights.import_file(file, "m")
    for name in ("../x", "random:1", "sample", ""):
        with pytest.raises(WeightsError, match="cannot name|not registered"):
            weights.import_file(file, name)
    with pytest.raises(WeightsError, match="no file"):
        weights.import_file(tmp_path / "absent")


def test_a_wheel_is_unzipped_never_imported(entry: WeightSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def made_up(package: str, version: str, folder: Path) -> Path:
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


def test_random_weights() -> None:
    assert weights.digest("random:7") == "random:7" and weights.random_seed("random:7") == 7
    for bad in ("random:", "random:x", "random:-1", "vgg19"):
        with pytest.raises(WeightsError, match="random:<seed>"):
            weights.random_seed(bad)


def test_a_hash_nobody_publishes_is_that_of_the_first_download(entry: WeightSpec, server: Server) -> None:
    free = replace(entry, sha256_prefix="", file="free.pkl")
    weights.REGISTRY["m"] = free
    assert weights.hash_text(free) == "none published"
    file = weights.pull("m")[0]
    assert weights.hash_text(free) == f"{SHA[:12]} (first download)" and weights.digest("m") == SHA
    file.write_bytes(b"changed")
    assert weights.state("m") == "corrupt"
    server.script[:] = ["other"] * 10
    with pytest.raises(WeightsError, match="first download was " + SHA):
        weights.pull("m")
    server.script.clear()
    assert weights.pull("m")[0].read_bytes() == BODY  # the server has the first one again
    file.unlink()
    file.with_name("free.pkl.sha256").unlink()
    server.script[:] = ["other"]
    assert weights.pull("m")[0].read_bytes() == BODY[::-1]


def test_a_mirror_is_asked_first(entry: WeightSpec, server: Server) -> None:
    weights.REGISTRY["m"] = replace(entry, urls=("http://127.0.0.1:9/official.pth",))
    weights.set_mirror(f"http://127.0.0.1:{server.server_address[1]}/weights/")
    try:
        assert weights.mirror(entry) == (f"http://127.0.0.1:{server.server_address[1]}/weights/m/{entry.file}",)
        assert weights.pull("m")[0].read_bytes() == BODY
        weights.path("m").unlink()
        weights.REGISTRY["m"] = entry
        server.script[:] = ["404"] * 4
        assert weights.pull("m")[0].read_bytes() == BODY  # the mirror lacks it, the official address has it
        server.script[:] = ["other"] * 10
        weights.path("m").write_bytes(b"x")
        with pytest.raises(WeightsError, match="expected " + SHA[:8]):
            weights.pull("m")  # a mirror is believed no more than the official address
    finally:
        weights.set_mirror("")


def test_an_air_gapped_folder_needs_no_network(entry: WeightSpec, tmp_path: Path) -> None:
    weights.set_cache(tmp_path / "carried")
    place = tmp_path / "carried" / "m" / entry.file
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    assert weights.verify(["m"]) == {"m": "present"} and weights.path("m") == place and weights.digest("m") == SHA
    place.write_bytes(b"damaged")
    assert weights.verify(["m"]) == {"m": "corrupt"}


def test_detectors_are_registered() -> None:
    for entry in DETECTORS.values():
        for name in entry.weights:
            found = weights.spec(name)
            assert (found.urls or found.packaged or found.wheel) and found.licence, name
            assert not found.sha256 or len(found.sha256) == 64
    assert weights.spec("bottom_up_attention_10_100").urls


def test_the_registry_agrees_with_torchvision() -> None:
    models = pytest.importorskip("torchvision.models")
    for made in weights.REGISTRY.values():
        if made.wheel is None and made.sha256_prefix:
            official = models.get_model_weights(made.name)["COCO_V1" if "rcnn" in made.name else "IMAGENET1K_V1"]
            assert made.urls == (official.url,) and made.file == official.url.rpartition("/")[2]
            assert made.file.endswith(f"-{made.sha256_prefix}.pth")
        elif made.wheel is None and not made.packaged:
            assert made.urls and len(made.sha256) in (0, 64)  # without a published hash the first download's counts
        else:
            assert len(made.sha256) == 64 and made.size > 0


def test_the_sample_group_is_what_the_registry_says(sample_weights: None) -> None:
    assert set(weights.verify(weights.GROUPS["sample"]).values()) == {"present"}


def test_without_a_published_hash_the_first_download_counts(entry: WeightSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.REGISTRY, "m", replace(entry, sha256_prefix=""))
    file = weights.pull("m")[0]
    assert weights.digest("m") == SHA and weights.state("m") == "present"
    file.write_bytes(BODY[::-1])
    assert weights.state("m") == "corrupt" and weights.digest("m") == SHA


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_note_is_named(entry: WeightSpec, text: str, tmp_path: Path) -> None:
    (tmp_path / entry.file).write_bytes(BODY)
    weights.import_file(tmp_path / entry.file, "own")
    note = weights.cache() / "own" / "imported.json"
    note.write_text(text)
    for call in (lambda: weights.path("own"), weights.list_weights):
        with pytest.raises(WeightsError, match=rf"{note} is broken .*delete .*weights import FILE --name own"):
            call()
