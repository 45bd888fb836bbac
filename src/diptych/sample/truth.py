"""The truth file: one JSON object a document, everything that a stage or a model can be scored against."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from diptych.sample import banners
from diptych.sample.article import Sentence
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.picture import resize_scale, resized_scene
from diptych.sample.scene import Box, area, intersection, iou, relations


@dataclass(frozen=True)
class TruthPhrase:
    """A noun phrase and the objects of the picture it names: indices into the picture's `objects`."""

    start: int
    end: int
    text: str
    objects: tuple[int, ...]
    nested: bool


@dataclass(frozen=True)
class TruthSentence:
    """A sentence; `tree` (Penn brackets) and `tokens` are null and empty for Chinese."""

    text: str
    tree: str | None
    tokens: tuple[str, ...]
    phrases: tuple[TruthPhrase, ...] = ()


@dataclass(frozen=True)
class TruthObject:
    """A drawn object: class, colour, box (xyxy, pixels, right and bottom exclusive), share of its box that nothing
    covers.
    """

    name: str
    colour: str
    box: Box
    visible: float


@dataclass(frozen=True)
class TruthRelation:
    """`subject` and `object` index the objects; predicate overlaps (IoU > 0.2), in_front_of, left_of or above."""

    subject: int
    predicate: str
    object: int
    iou: float


@dataclass(frozen=True)
class TruthText:
    """The line of a banner, the box of its glyphs and of its strip; `keyphrase` when it holds one that the text
    lacks.
    """

    text: str
    language: str
    box: Box
    strip: Box
    size: int
    keyphrase: bool


@dataclass(frozen=True)
class TruthImage:
    """One picture of a page; see SampleImage for `delivery`, `place` and `markup`."""

    path: str
    role: str
    keep: bool
    reason: str | None
    also: tuple[str, ...]
    delivery: str
    place: str
    markup: str
    encoding: str
    change: str | None
    copy_of: str | None
    shared_with: str | None
    width: int
    height: int
    photograph: str | None
    caption: TruthSentence | None
    caption_style: str
    descriptions: tuple[TruthSentence, ...]
    objects: tuple[TruthObject, ...]
    relations: tuple[TruthRelation, ...]
    scenes: tuple[tuple[int, ...], ...]
    texts: tuple[TruthText, ...]
    relevance: str | None
    cmi: float | None
    sc: float | None
    adds: bool
    colours_visible: bool


@dataclass(frozen=True)
class TruthKeyphrase:
    """A keyphrase; `where` is text, banner (stands only in a picture) or objects (is only shown)."""

    text: str
    where: str


@dataclass(frozen=True)
class TruthMention:
    """Something the words name, with the colour and the number they state."""

    name: str
    colour: str
    count: int


@dataclass(frozen=True)
class Truth:
    """Everything that is true of one document; image references are URL paths."""

    index: int
    id: str
    path: str
    requested: str
    language: str
    topic: str
    title: str
    text: str
    sentences: tuple[TruthSentence, ...]
    summary: TruthSentence
    keyphrases: tuple[TruthKeyphrase, ...]
    named: tuple[TruthMention, ...]
    relation: str
    best_image: str | None
    best_caption: str | None
    group: str
    published: str
    charset: str
    delivery: str
    base_href: bool
    has_description: bool
    has_keywords: bool
    images: tuple[TruthImage, ...]

    def json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))


def document_id(index: int) -> str:
    """Return the id of a document in the folder layout and in the truth, e.g. `d00007`."""
    return f"d{index:05d}"


def truth_of(document: SampleDocument) -> Truth:
    """Return the truth of a document."""
    article = document.article
    best, caption = document.best, document.best_caption
    return Truth(
        index=document.index,
        id=document_id(document.index),
        path=document.path,
        requested=document.requested,
        language=document.language,
        topic=document.facts.topic,
        title=article.title,
        text=article.text,
        sentences=tuple(_sentence(sentence, False) for sentence in article.sentences),
        summary=_sentence(article.summary, False),
        keyphrases=tuple(TruthKeyphrase(item.text, item.where) for item in article.keyphrases),
        named=tuple(TruthMention(item.name, item.colour, item.count) for item in article.named),
        relation=document.facts.relation,
        best_image=best.path if best else None,
        best_caption=caption.path if caption else None,
        group=document_id(document.group),
        published=document.published,
        charset=document.style.charset,
        delivery=document.style.delivery,
        base_href=document.style.base_href,
        has_description=document.style.description,
        has_keywords=document.style.keywords,
        images=tuple(_image(image) for image in document.images),
    )


def _sentence(sentence: Sentence, linked: bool) -> TruthSentence:
    phrases = sentence.phrases if linked else ()
    return TruthSentence(
        sentence.text,
        sentence.tree,
        sentence.tokens,
        tuple(TruthPhrase(p.start, p.end, p.text, p.referents, p.nested) for p in phrases),
    )


def _image(image: SampleImage) -> TruthImage:
    plan, scene = image.plan, image.scene if image.keep else None
    width, height = plan.picture.width, plan.picture.height
    if plan.change == "resized":
        scale = resize_scale(plan.picture.noise)
        width, height = round(width * scale), round(height * scale)
        scene = resized_scene(scene, scale) if scene else None
    objects = scene.objects if scene else ()
    boxes = [item.box for item in objects]
    window = plan.picture.window
    banner = scene.banner if scene else None
    texts: tuple[TruthText, ...] = ()
    if banner is not None and image.scene is not None and image.scene.banner is not None:
        glyphs = banners.glyph_box(image.scene.banner)
        scale_x, scale_y = width / plan.picture.width, height / plan.picture.height
        box = (
            round(glyphs[0] * scale_x),
            round(glyphs[1] * scale_y),
            round(glyphs[2] * scale_x),
            round(glyphs[3] * scale_y),
        )
        texts = (TruthText(banner.text, banner.language, box, banner.box, banner.size, banner.keyphrase),)
    adds = image.keep and (any(text.keyphrase for text in texts) or image.judgement.relevance == "implicit")
    return TruthImage(
        path=image.path,
        role=image.role,
        keep=image.keep,
        reason=image.reason,
        also=image.also,
        delivery=image.delivery,
        place=image.place,
        markup=image.markup,
        encoding=plan.encoding,
        change=plan.change,
        copy_of=image.copy_of,
        shared_with=image.shared_with[1] if image.shared_with else None,
        width=width,
        height=height,
        photograph=_photograph(window.photograph) if window is not None and image.keep else None,
        caption=_sentence(image.caption, True) if image.caption else None,
        caption_style=image.caption_style,
        descriptions=tuple(_sentence(sentence, True) for sentence in image.descriptions),
        objects=tuple(
            TruthObject(item.name, item.colour, item.box, _visible(boxes, number))
            for number, item in enumerate(objects)
        ),
        relations=tuple(
            TruthRelation(edge.subject, edge.predicate, edge.object, edge.iou) for edge in relations(objects)
        ),
        scenes=_components(boxes),
        texts=texts,
        relevance=image.judgement.relevance,
        cmi=image.judgement.cmi,
        sc=image.judgement.sc,
        adds=adds,
        colours_visible=image.colours_visible,
    )


def _photograph(number: int) -> str:
    from diptych.sample.photographs import PHOTOGRAPHS

    return PHOTOGRAPHS[number]


def _visible(boxes: list[Box], number: int) -> float:
    """Return the uncovered share of a box; at most one object lies in front of another in these scenes."""
    covered = sum(intersection(boxes[number], later) for later in boxes[number + 1 :])
    return round(1 - min(1.0, covered / area(boxes[number])), 3)


def _components(boxes: list[Box], threshold: float = 0.2) -> tuple[tuple[int, ...], ...]:
    """Return the connected components of the overlap graph, single objects included (the scenes of HCSCL)."""
    parent = list(range(len(boxes)))
    for first in range(len(boxes)):
        for second in range(first):
            if iou(boxes[first], boxes[second]) > threshold:
                parent = [parent[second] if root == parent[first] else root for root in parent]
    return tuple(tuple(i for i, root in enumerate(parent) if root == name) for name in sorted(set(parent)))
