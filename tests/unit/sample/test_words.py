"""The words of the sample site: trees, keyphrases, variety, and what is named."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from diptych.sample import Site, treebank
from diptych.sample.english import implied_words
from diptych.sample.trees import detokenise, read_brackets

SITE = Site(600, seed=3)


@pytest.fixture(scope="module")
def truths():
    return [SITE.truth(index) for index in range(0, 120)]


def test_leaves_of_every_tree_are_the_tokens_of_the_sentence(truths):
    checked = 0
    for truth in truths:
        for image in truth.images:
            sentences = [
                *truth.sentences,
                truth.summary,
                *image.descriptions,
                *([image.caption] if image.caption else []),
            ]
            for sentence in sentences:
                if truth.language == "zh" and sentence.tree is None:
                    continue
                assert sentence.tree is not None
                leaves = read_brackets(sentence.tree).leaves()
                assert tuple(leaves) == sentence.tokens
                assert detokenise(leaves) == sentence.text
                checked += 1
    assert checked > 1000


def test_trees_use_penn_labels_and_noun_phrases_are_marked():
    labels = Counter(
        node.label
        for sentence in treebank(300)
        if sentence.tree
        for node, _, _ in read_brackets(sentence.tree).spans()
        if node.word is None
    )
    assert set(labels) <= {"S", "NP", "VP", "PP", "SBAR", "ADVP", "ADJP", "PRT", "WHNP"}
    assert labels["NP"] > labels["VP"] > 200


def test_a_treebank_has_no_sentence_twice_and_seeds_differ():
    first, second = ([sentence.text for sentence in treebank(240, seed)] for seed in (0, 1))
    assert len(set(first)) == 240
    assert len(set(first) & set(second)) < 72


def test_phrases_point_at_objects_of_the_class_and_colour_they_say(truths):
    linked = 0
    for truth in truths:
        for image in truth.images:
            for sentence in image.descriptions:
                for phrase in sentence.phrases:
                    assert detokenise(list(sentence.tokens[phrase.start : phrase.end])) == phrase.text
                    assert phrase.objects, phrase
                    named = image.objects[phrase.objects[0]]
                    assert named.colour in phrase.text.lower()
                    assert {image.objects[index].name for index in phrase.objects} == {named.name}
                    linked += 1
    assert linked > 1000


def test_hundreds_of_distinct_sentences_in_all_topics_and_both_languages():
    english, chinese, topics = set(), set(), Counter()
    for article in SITE.articles():
        target = chinese if not article.sentences[0].tree else english
        target.update(sentence.text for sentence in article.sentences)
    for truth in (SITE.truth(index) for index in range(0, 600, 6)):
        topics[truth.topic, truth.language] += 1
    assert len(english) > 1500
    assert len(chinese) > 600
    assert len({topic for topic, _ in topics}) == 10
    assert 0.2 < sum(count for (_, language), count in topics.items() if language == "zh") / 100 < 0.4


def test_sentence_shapes_are_not_five_templates():
    shapes = Counter(
        re.sub(r" [^()]+\)", ")", sentence.tree)
        for article in SITE.articles(0, 200)
        for sentence in article.sentences
        if sentence.tree
    )
    assert len(shapes) > 150
    assert shapes.most_common(1)[0][1] < 0.08 * sum(shapes.values())


def test_keyphrases_stand_where_the_truth_says(truths):
    seen = Counter()
    for truth in truths:
        for keyphrase in truth.keyphrases:
            seen[keyphrase.where] += 1
            everything = f"{truth.title} {truth.text} {truth.summary.text}".lower()
            word = re.escape(keyphrase.text.lower())
            stands = re.search(rf"\b{word}\b" if truth.language == "en" else word, everything) is not None
            assert stands == (keyphrase.where == "text"), (keyphrase, everything)
            best = next((image for image in truth.images if image.path == truth.best_image), None)
            if keyphrase.where == "banner" and best is not None:
                assert [text.text.lower() for text in best.texts if text.keyphrase] == [keyphrase.text.lower()]
    assert min(seen["text"], seen["banner"], seen["objects"]) >= 15


def test_implied_classes_are_never_named_and_named_ones_are():
    for document in SITE.iterate(0, 200):
        if document.language == "en":
            words = set(re.findall(r"[a-z]+", (document.article.title + " " + document.article.text).lower()))
            assert not words & implied_words(document.facts.topic), document.article.text


def test_the_summary_is_no_sentence_of_the_body(truths):
    for truth in truths:
        assert truth.summary.text not in truth.text
        assert 3 <= len(truth.sentences) <= 12
