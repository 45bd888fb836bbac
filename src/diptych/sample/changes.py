"""Changing a site: one document edited, given a picture, its captions moved, or removed; everything else stays byte
for byte.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from diptych.sample import captions
from diptych.sample.article import Sentence, english_sentence
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.judging import judge
from diptych.sample.picture import FilePlan, Picture
from diptych.sample.planning import Layout, caption_of, media_path
from diptych.sample.scenes import cast, compose
from diptych.sample.seeding import rng

Change = Literal["edit_text", "edit_word", "add_image", "move_caption", "remove"]
CHANGES: tuple[Change, ...] = ("edit_text", "edit_word", "add_image", "move_caption", "remove")
_ENGLISH_WORDS = {"the": "this", "The": "This", "a": "one", "A": "One", "was": "is"}
_CHINESE_WORDS = (("的", "之"), ("在", "于"), ("了", "过"), ("将", "会"))
_NEW_ENGLISH = "[NP The/DT editors/NNS] [VP corrected/VBD [NP this/DT report/NN] [PP on/IN [NP <day>]]] ./."


def apply(layout: Layout, document: SampleDocument, change: Change) -> SampleDocument:
    """Return the document after a change; `remove` is the site's business, which then answers 410."""
    later = (datetime.fromisoformat(document.published) + timedelta(days=30)).isoformat()
    changed = {
        "edit_text": _edit_text, "edit_word": _edit_word, "add_image": _add_image, "move_caption": _move_caption,
    }[change](layout, document)  # fmt: skip
    return replace(changed, published=later, revision=document.revision + 1)


def _edit_text(_: Layout, document: SampleDocument) -> SampleDocument:
    """Replace the last sentence of the body by a correction."""
    if document.language == "zh":
        new = Sentence(f"编辑部{document.article.day}更正了这篇报道。")
    else:
        new = english_sentence(_NEW_ENGLISH.replace("<day>", f"{document.article.day}/NNP"))
    return replace(document, article=replace(document.article, sentences=(*document.article.sentences[:-1], new)))


def _edit_word(_: Layout, document: SampleDocument) -> SampleDocument:
    """Change one word of one sentence of the body."""
    sentences = list(document.article.sentences)
    for number in reversed(range(len(sentences))):
        changed = _other_word(sentences[number], document.language)
        if changed is not None:
            sentences[number] = changed
            return replace(document, article=replace(document.article, sentences=tuple(sentences)))
    raise ValueError(f"sample site: document {document.index} has no word that `edit_word` knows; use `edit_text`")


def _other_word(sentence: Sentence, language: str) -> Sentence | None:
    if language == "zh":
        for old, new in _CHINESE_WORDS:
            if old in sentence.text:
                return Sentence(sentence.text.replace(old, new, 1))
        return None
    for position, token in enumerate(sentence.tokens):
        new = _ENGLISH_WORDS.get(token)
        if new is not None and sentence.tree is not None:
            tokens = (*sentence.tokens[:position], new, *sentence.tokens[position + 1 :])
            text = (
                sentence.text.replace(f"{token} ", f"{new} ", 1)
                if position == 0
                else sentence.text.replace(f" {token} ", f" {new} ", 1)
            )
            if text == sentence.text:
                continue
            return Sentence(text, sentence.tree.replace(f" {token})", f" {new})", 1), tokens)
    return None


def _add_image(layout: Layout, document: SampleDocument) -> SampleDocument:
    """Append one more valid picture to the page."""
    draw = rng(layout.seed, document.index, "added", document.revision)
    role = draw.choice(("partial", "implied", "irrelevant"))
    drawn = compose(draw, document.facts, document.article, role, cast(draw, document.facts, document.article))
    noise = (document.index, "added", document.revision)
    picture = Picture("scene", noise, drawn.scene.width, drawn.scene.height, scene=drawn.scene)
    number = len(document.images)
    added = SampleImage(
        media_path(layout.seed, document.index, number, "jpeg"), role, FilePlan(picture),
        caption=caption_of(draw, document.facts, document.article, drawn, "generic"), caption_style="generic",
        judgement=judge(drawn.scene, document.article.named, document.facts.topic),
        descriptions=captions.descriptions(draw, drawn.scene),
    )  # fmt: skip
    return replace(document, images=(*document.images, added))


def _move_caption(_: Layout, document: SampleDocument) -> SampleDocument:
    """Exchange the captions of the first two valid pictures whose captions differ."""
    kept = [number for number, image in enumerate(document.images) if image.keep and image.caption is not None]
    for first in kept:
        for second in kept:
            a, b = document.images[first], document.images[second]
            if first < second and a.caption is not None and b.caption is not None and a.caption.text != b.caption.text:
                images = list(document.images)
                images[first] = replace(a, caption=_unlinked(b.caption), caption_style=b.caption_style)
                images[second] = replace(b, caption=_unlinked(a.caption), caption_style=a.caption_style)
                return replace(document, images=tuple(images))
    raise ValueError(
        f"sample site: `move_caption` needs two different captions, "
        f"document {document.index} has {len(kept)} captioned pictures; choose another document"
    )


def _unlinked(caption: Sentence) -> Sentence:
    """Return the caption without links: they point into the picture it was written for."""
    return replace(caption, phrases=())
