"""The entities stage against a local server that speaks the documented shape of Baidu's answers."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from diptych import environment
from diptych.exceptions import StageError
from diptych.stage import Batch, Output, Status
from diptych.stages import entities_baidu
from diptych.stages.entities import Entities, EntitiesConfig

TOKEN = "24.secret-token"
GOOD = {
    "log_id": 1, "result_num": 2,
    "result": [{"score": 0.3, "root": "交通工具", "keyword": "汽车"}, {"score": 0.9, "keyword": "树"}],
}  # fmt: skip


class Service(ThreadingHTTPServer):
    """Gives ``answers`` in turn (the last for ever) and remembers the pictures."""

    answers: list[Any]
    pictures: list[bytes]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.pictures.append(base64.b64decode(form["image"][0]))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if parse_qs(urlsplit(self.path).query)["access_token"] != [TOKEN]:
            answer = {"error_code": 110, "error_msg": "Access token invalid or no longer valid"}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), Handler)
    server.answers, server.pictures = [GOOD], []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setattr(environment, "_environment", {"BAIDU_ACCESS_TOKEN": TOKEN})
    assert entities_baidu.ask.__kwdefaults__
    monkeypatch.setitem(entities_baidu.ask.__kwdefaults__, "pause", lambda seconds: None)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), colour: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", size, (colour, 9, 9)).save(sink, kind)
    return sink.getvalue()


def run(service: Service, *data: bytes | None, **config: Any) -> Output:
    stage = Entities(EntitiesConfig(endpoint=f"http://127.0.0.1:{service.server_port}/v2/advanced_general", **config))
    stage.setup("cpu")
    out = stage.process(Batch(tuple(map(str, range(len(data)))), {"images.bytes": list(data)}, stage))
    stage.close()
    out.check("entities")
    assert TOKEN not in repr(out.states)
    return out


def test_names_come_the_surest_first(service: Service) -> None:
    out = run(service, picture())
    assert (out.values["names"], out.values["roots"]) == ([["树", "汽车"]], [["", "交通工具"]])
    assert out.values["scores"][0] == pytest.approx([0.9, 0.3])
    assert run(service, picture(), min_score=0.5).values["names"] == [["树"]]
    assert run(service, picture(), top=1).values["names"] == [["树"]]
    service.answers = [{"log_id": 2, "result_num": 0, "result": []}]
    assert run(service, picture()).states[0].status is Status.OK


def test_a_lone_surrogate_is_a_sign_that_can_be_stored(service: Service, tmp_path: Path) -> None:
    service.answers = [{"result": [{"score": 0.5, "keyword": "树\ud800", "root": "\udfff"}]},
                       {"error_code": 216201, "error_msg": "\ud800"}]  # fmt: skip
    out = run(service, picture(), picture(colour=1), answers=str(tmp_path))
    assert (out.values["names"][0], out.values["roots"][0]) == (["树\ufffd"], ["\ufffd"])
    assert out.states[1].text == "\ufffd" and len(list(tmp_path.rglob("*.json"))) == 1
    assert run(service, picture(), answers=str(tmp_path)).values["names"] == [["树\ufffd"]]


def test_pictures_are_sent_as_the_service_takes_them(service: Service) -> None:
    plain = picture("JPEG")
    run(service, plain, picture("GIF"), picture(size=(3, 5000)), picture("WEBP"))
    assert service.pictures[0] == plain
    for sent in service.pictures[1:]:
        with Image.open(io.BytesIO(sent)) as image:
            assert image.format == "JPEG" and min(image.size) >= 15 and max(image.size) <= 4096
    out = run(service, b"<html>", None)
    assert all(s.status is Status.FAILED_PERMANENT for s in out.states) and len(service.pictures) == 4


@pytest.mark.parametrize(
    ("answer", "status", "code", "asked"),
    [
        ({"error_code": 18, "error_msg": "qps"}, Status.FAILED_TRANSIENT, "baidu_18", 3),
        ({"error_code": 216201, "error_msg": "format"}, Status.FAILED_PERMANENT, "baidu_216201", 1),
        (503, Status.FAILED_TRANSIENT, "http_503", 3),
        (404, Status.FAILED_PERMANENT, "http_404", 1),
        (b"<html>", Status.FAILED_TRANSIENT, "bad_answer", 3),
        (b"[" * 100_000, Status.FAILED_TRANSIENT, "bad_answer", 3),
        (b" " * (1 << 21), Status.FAILED_TRANSIENT, "bad_answer", 3),
        ({"result": [{"keyword": "x"}]}, Status.FAILED_TRANSIENT, "bad_answer", 3),
        ({"result": {"keyword": "x"}}, Status.FAILED_TRANSIENT, "bad_answer", 3),
        ({"result": [{"keyword": "x", "score": 7}]}, Status.FAILED_TRANSIENT, "bad_answer", 3),
    ],
)
def test_answers_that_are_none(service: Service, answer: Any, status: Status, code: str, asked: int) -> None:
    service.answers = [answer]
    state = run(service, picture()).states[0]
    assert (state.status, state.code, len(service.pictures)) == (status, code, asked)


def test_a_busy_service_is_asked_again(service: Service) -> None:
    service.answers = [{"error_code": 18, "error_msg": "qps"}, 500, GOOD]
    assert run(service, picture()).values["names"] == [["树", "汽车"]]


def test_without_quota_nothing_more_is_asked(service: Service) -> None:
    service.answers = [GOOD, {"error_code": 17, "error_msg": "Open api daily request limit reached"}]
    out = run(service, picture(), *(picture(colour=n) for n in (1, 2, 3)))
    assert [s.code for s in out.states] == ["", "quota", "quota", "quota"] and len(service.pictures) == 2
    assert out.states[3].status is Status.FAILED_TRANSIENT


def test_a_wrong_token_ends_the_stage(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_environment", {"BAIDU_ACCESS_TOKEN": "wrong"})
    with pytest.raises(StageError, match="refuses the token .error 110") as error:
        run(service, picture())
    assert "wrong" not in str(error.value)
    with pytest.raises(StageError, match="access token of Baidu's .* set the environment variable OTHER_TOKEN"):
        run(service, picture(), token_variable="OTHER_TOKEN")


def test_kept_answers_are_not_asked_for_again(service: Service, tmp_path: Path) -> None:
    first = run(service, picture(), answers=str(tmp_path)).values
    service.answers = [500]
    assert run(service, picture(), answers=str(tmp_path)).values == first and len(service.pictures) == 1
    file = next(tmp_path.rglob("*.json"))
    file.write_text('{"result": 5}')
    service.answers = [GOOD]
    assert run(service, picture(), answers=str(tmp_path)).values == first and len(service.pictures) == 2
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [file.name]


def test_a_dead_service_is_transient(service: Service) -> None:
    stage = Entities(EntitiesConfig(endpoint="http://127.0.0.1:9/"))
    stage.setup("cpu")
    state = stage.process(Batch(("a",), {"images.bytes": [picture()]}, stage)).states[0]
    assert (state.status, state.code) == (Status.FAILED_TRANSIENT, "unreachable") and TOKEN not in state.text
