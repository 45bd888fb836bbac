"""Votes in a version: what is counted, what a late vote recomputes, how ties end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions
from diptych.engine.steps import close
from diptych.exceptions import StageError
from diptych.naming import digest_bytes, pair_key, record_id
from diptych.report.page import write_report
from diptych.report.stats import statistics
from diptych.stage import Batch
from diptych.stages.votes import PairVotes, Votes, VotesConfig
from diptych.stages.votes_best_image import BestImage, BestImageConfig
from diptych.storage.store import open_store
from diptych.version import Version
from diptych.votes.agreement import agreement
from diptych.votes.answers import Vote, write_votes
from diptych.votes.labels import LabelFile
from diptych.votes.tasks import known_items

sys.path.append(str(Path(__file__).parents[1] / "engine"))

RECORD, PAIR = "a" * 32, f"{'a' * 32}/{'b' * 64}"
RECIPE = """
name: toy
sources: [{{kind: folder, name: toy, path: .}}]
shards: 2
stages:
  sentences: {{}}
  relevance_scores: {{against: [text]}}
  relevance: {{top: 1}}
  votes: {{file: {file}}}
  pair_votes: {{file: {file}}}
  best_image: {{}}
  double: {{use: "toy:Measure2", only: relevance.rank <= 1}}
fits:
  splits: {{use: "toy:Halves"}}
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    close()


def one(stage: Any, key: str) -> dict[str, Any]:
    stage.setup("cpu")
    out = stage.process(Batch((key,), {}, stage))
    out.check(stage.name)
    return {name: values[0] for name, values in out.values.items()}


def voted(tmp_path: Path, kind: str, answers: str | list[str], item: str = PAIR) -> Path:
    file = tmp_path / "votes.csv"
    write_votes([Vote(kind, item, f"annotator{n}", value) for n, value in enumerate(answers)], file)
    return file


def test_a_plurality_wins_and_a_tie_has_no_value(tmp_path: Path) -> None:
    three = ["explicit", "irrelevant", "explicit"]
    config = VotesConfig(file=str(voted(tmp_path, "relation", three)))
    row = one(PairVotes(config), PAIR)
    assert row["relation"] == "explicit" and row["cmi"] is None
    assert row["results"] == [
        {"kind": "relation", "about": "", "value": "explicit", "tied": False, "annotators": 3,
         "values": ["explicit", "irrelevant"], "counts": [2, 1], "entropy": pytest.approx(0.9182958)}
    ]  # fmt: skip
    tie = VotesConfig(file=str(voted(tmp_path, "relation", ["explicit", "irrelevant", "implicit"])))
    row = one(PairVotes(tie), PAIR)
    assert row["relation"] is None and row["results"][0]["tied"]
    few = VotesConfig(file=str(voted(tmp_path, "sc", ["-0.5"])), min_annotators=2)
    row = one(PairVotes(few), PAIR)
    assert row["sc"] is None and not row["results"][0]["tied"]
    assert one(PairVotes(VotesConfig(file=str(voted(tmp_path, "sc", ["-0.5"])))), PAIR)["sc"] == -0.5
    nothing = {"results": [], "relation": None, "cmi": None, "sc": None, "regions": []}
    assert one(PairVotes(), PAIR) == nothing


def test_regions_of_phrases(tmp_path: Path) -> None:
    phrase = [f"{PAIR}@{'c' * 32}:{span}" for span in ("0-5", "9-12", "15-20")]
    votes = [
        Vote("region", phrase[0], who, box) for who, box in (("a", "1,2,30,40"), ("b", "1,2,30,40"), ("c", "none"))
    ]
    votes += [Vote("region", phrase[1], who, "5,5,9,9") for who in "ab"] + [Vote("region", phrase[2], "a", "none")]
    votes += [Vote("region_right", f"{phrase[1]}=5,5,9,9", who, "no") for who in "ab"]
    votes += [Vote("region_right", f"{phrase[2]}=0,0,8,8", "a", "yes")]
    write_votes(votes, tmp_path / "votes.csv")
    row = one(PairVotes(VotesConfig(file=str(tmp_path / "votes.csv"))), PAIR)
    assert row["regions"] == [
        {"sentence": "c" * 32, "start": 0, "end": 5, "box": [1.0, 2.0, 30.0, 40.0]},
        {"sentence": "c" * 32, "start": 15, "end": 20, "box": [0.0, 0.0, 8.0, 8.0]},
    ]
    assert [(r["kind"], r["about"].partition(":")[2], r["value"]) for r in row["results"]] == [
        ("region", "0-5", "1,2,30,40"), ("region", "15-20", "none"), ("region", "9-12", "5,5,9,9"),
        ("region_right", "15-20=0,0,8,8", "yes"), ("region_right", "9-12=5,5,9,9", "no"),
    ]  # fmt: skip


def labelled(tmp_path: Path, rows: str, *annotators: str) -> tuple[LabelFile, str]:
    """Labels about the relation of posts, and the record id of the post ``t1``."""
    file = tmp_path / "labels.csv"
    file.write_text("\n".join([",".join(["id", *annotators]), rows]), encoding="utf-8")
    return LabelFile(file=str(file), source="tweets", columns={"relation": annotators}), record_id("tweets", "t1")


def test_a_vote_about_a_pair_leaves_the_labels_of_its_record(tmp_path: Path) -> None:
    labels, record = labelled(tmp_path, "t1,explicit,explicit", "a", "b")
    pairs = [f"{record}/{c * 64}" for c in "bcd"]
    votes = [Vote("cmi", pairs[0], "ann", "0.5"), Vote("relation", pairs[1], "ann", "implicit")]
    write_votes(votes, tmp_path / "votes.csv")
    stage = PairVotes(VotesConfig(file=str(tmp_path / "votes.csv"), labels=(labels,)))
    found = [one(stage, pair) for pair in pairs]
    assert [(row["relation"], row["cmi"]) for row in found] == [
        ("explicit", 0.5), ("implicit", None), ("explicit", None),
    ]  # fmt: skip
    assert [[r["kind"] for r in row["results"]] for row in found] == [["cmi", "relation"], ["relation"], ["relation"]]


@pytest.mark.parametrize("kind", ["region", "region_right", "best_image", "beauty"])
def test_labels_answer_questions_with_fixed_answers_about_whole_rows(tmp_path: Path, kind: str) -> None:
    (tmp_path / "labels.csv").write_text("id,a\nt1,yes\n", encoding="utf-8")
    with pytest.raises(ValidationError, match=f"'{kind}' is no question .*; there are relation, cmi, sc"):
        LabelFile(file=str(tmp_path / "labels.csv"), source="tweets", columns={kind: ("a",)})


def test_changed_or_broken_files_are_noticed(tmp_path: Path) -> None:
    file = voted(tmp_path, "cmi", ["1"])
    config = VotesConfig(file=str(file))
    assert VotesConfig(**config.model_dump()) == config
    with pytest.raises(ValidationError, match="expected 00"):
        VotesConfig(file=str(file), file_sha256="00")
    with pytest.raises(ValidationError, match="cannot read"):
        VotesConfig(file=str(tmp_path / "absent"))
    file.write_text(file.read_text() + f"cmi,{PAIR},annotator0,0\n")
    with pytest.raises(StageError, match="changed since"):
        PairVotes(config).setup("cpu")
    with pytest.raises(StageError, match="the first is line 3 .duplicated"):
        Votes(VotesConfig(file=str(file))).setup("cpu")


def test_ties_between_pictures_go_to_the_more_relevant() -> None:
    def choice(values: str, counts: list[int], tied: bool = False, **config: Any) -> tuple[Any, ...]:
        stage = BestImage(BestImageConfig(**config))
        result = {"kind": "best_image", "value": None if tied else values[0], "tied": tied, "values": list(values)}
        columns = {
            "votes.results": [[{**result, "counts": counts}]], "relevance.image": [["a", "b", "c", "d"]],
            "relevance.rank": [[4, 2, 1, 3]], "relevance.position": [[0, 1, 2, 3]],
        }  # fmt: skip
        out = stage.process(Batch((RECORD,), columns, stage))
        out.check("best_image")
        assert out.values["images"] == [["c", "b", "d", "a"][: stage.config.candidates]]
        return out.values["choice"][0], out.values["votes"][0], out.values["tied"][0]

    assert choice("bd", [3, 2]) == (1, [0, 3, 2], False)
    assert choice("dbc", [2, 2, 1], tied=True) == (1, [1, 2, 2], True)
    assert choice("dbc", [2, 2, 1], tied=True, ties="none") == (None, [1, 2, 2], True)
    assert choice("ab", [3, 2]) == (1, [0, 2, 0], False)
    assert choice("a", [5]) == (None, [0, 0, 0], False)
    assert choice("a", [5], candidates=4) == (3, [0, 0, 0, 5], False)


def test_a_late_vote_recomputes_the_votes_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import toy

    class Measure2(toy.Toy):
        """Runs only on the pictures that relevance keeps."""

        name, key, inputs = "double", "image", ("images.bytes",)
        outputs = toy.pa.schema([("size", toy.pa.int64())])

        def row(self, batch: Batch, i: int, output: Any) -> None:
            output.set(i, size=len(batch["images.bytes"][i]))

    monkeypatch.setattr(toy, "Measure2", Measure2, raising=False)
    store = open_store(tmp_path, "toy")
    pictures = {name: f"picture {name}".encode() for name in "abcd"}
    captions = {"a": "A tree.", "b": "The red car stands at the kerb.", "c": "A red boat.", "d": ""}
    rows = [
        toy.record(f"doc{n}", "Text of the page. The red car stood at the kerb.",
                   [(pictures[p] + str(n).encode(), captions[p]) for p in "abcd"], store)
        for n in range(6)
    ]  # fmt: skip
    snapshot = toy.snapshot(store, rows)

    def run(votes: list[Vote]) -> BuildReport:
        file = tmp_path / f"votes-{len(votes)}.csv"
        write_votes(votes, file)
        recipe = RECIPE.format(file=file)
        return build(recipe, str(tmp_path), BuildOptions(), snapshot=snapshot)

    def image(n: int, name: str) -> str:
        return digest_bytes(pictures[name] + str(n).encode())

    record = record_id("toy", "doc3")
    votes = [Vote("best_image", record, f"annotator{n}", image(3, p)) for n, p in enumerate("bccbd")]
    votes.append(Vote("relation", pair_key(record, image(3, "c")), "ann", "implicit"))
    run(votes)
    version = Version(store, store.log.manifest())
    chosen = {r["key"]: r for r in version.table("best_image").to_pylist()}[record]
    assert chosen["choice"] == 0 and chosen["tied"] and chosen["images"][0] == image(3, "b")
    relation = {r["key"]: r["relation"] for r in version.table("pair_votes").to_pylist()}
    assert relation[pair_key(record, image(3, "c"))] == "implicit" and list(relation.values()).count(None) == 23
    ranks = {r["key"]: (r["rank"], r["kept"]) for r in version.table("relevance").to_pylist()}
    assert ranks[pair_key(record, image(3, "b"))] == (1, True) and ranks[pair_key(record, image(3, "d"))] == (4, False)
    sizes = [r for r in version.table("double").to_pylist() if r["status"] == "ok"]
    assert {r["key"] for r in sizes} == {image(n, "b") for n in range(6)}
    known = known_items(version)
    assert known["best_image"][record][0] == image(3, "b") and len(known["cmi"]) == 24
    best, related = agreement(version)
    assert (best.items, best.votes, best.tied, related.votes, related.values) == (1, 5, 1, 1, {"implicit": 1})
    told = statistics(version)
    assert told.agreement == (best, related) and "best_image" in str(told)
    assert [(c.scorer, c.documents) for c in told.scorers] == [("ngrams", 6)]
    assert "cosine of character n-grams" in str(told)
    monkeypatch.setattr("diptych.report.page.split_proof", lambda _: None)  # the toy's splits have no groups
    page = write_report(version, tmp_path / "page.html").read_text("utf-8")
    assert "Krippendorff" in page and "cosine of character n-grams" in page
    before = {s.name: (s.key, s.exact, s.chunks) for s in version.manifest.stages}

    run([*votes, Vote("best_image", record, "late", image(3, "c"))])
    version = Version(store, store.log.manifest())
    chosen = {r["key"]: r for r in version.table("best_image").to_pylist()}[record]
    assert chosen["choice"] is not None and chosen["images"][chosen["choice"]] == image(3, "c") and not chosen["tied"]
    after = {s.name: (s.key, s.exact, s.chunks) for s in version.manifest.stages}
    assert {name for name in after if after[name] != before[name]} == {"votes", "pair_votes", "best_image"}
