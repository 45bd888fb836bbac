"""Chinese: phrases of things, and the sentences of an article (no trees: the parser of the project is English)."""

from __future__ import annotations

import random

from diptych.sample.article import Article, Keyphrase, Sentence
from diptych.sample.lexicon import CHINESE_COLOURS, CHINESE_NUMBERS, CLASSES, RELATIONS
from diptych.sample.seeding import rng
from diptych.sample.story import CHINESE, Facts, Mention

DAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")
MONTHS = ("一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月")
_COUNT = {**CHINESE_NUMBERS, 7: "七", 8: "八", 9: "九"}
_SURNAMES = "王李张刘陈杨赵黄周吴徐孙"
_ROLES = ("女士", "先生", "老师", "师傅")
_FANCY = (
    "银河",
    "金秋",
    "北方",
    "花岗",
    "水晶",
    "杨柳",
    "高峰",
    "琥珀",
    "枫叶",
    "云海",
    "青松",
    "红铜",
    "飞鹰",
    "晨雾",
    "珍珠",
    "星光",
    "春雷",
    "锦绣",
)
SHOPS = (
    "月光面包房",
    "四号站台",
    "全天营业",
    "星辰旅馆",
    "城市药房",
    "禁止停车",
    "售票处",
    "出口十二",
    "街角书店",
    "现磨咖啡",
    "主入口",
    "二层",
    "游客中心",
    "请在此等候",
)

_LEADS = (
    "{day}{occasion}，{x}出现在{place}{y}的{rel}。",
    "{occasion}，行人在{place}看到{x}停留在{y}{rel}。",
    "{day}，摄影师在{place}拍到{x}和{y}，前者就在后者{rel}。",
    "{day}，{place}的人们都看向{y}{rel}的{xb}。",
    "记者{day}在{place}发现，{y}的{rel}多了{x}。",
)
_BYSTANDERS = ("不远处还有{z}。", "画面中还能看到{z}。", "另一侧则是{z}。", "稍远的地方，记者数出{z}。")
_SUMMARIES = (
    "{x}{day}在{place}{y}的{rel}引起关注，{upshot}。",
    "{place}：{y}{rel}发现{x}；{upshot}。",
    "{office}通报，{place}{y}的{rel}有{x}，{upshot}。",
)
_GENERIC = (
    "没有人更了解{xs}的情况。",
    "“我从来没有见过这样的场面。”{person}说。",
    "{person}为{xs}拍了一张照片。",
    "市长没有就此事发表评论。",
    "邻居{person}盯着{ys}看了{num}分钟。",
    "{office}将在{month}公布报告。",
    "“我们了解{xs}的情况。”{office}告诉本报。",
    "多数读者认为，{place}需要更多关注。",
    "上一次类似的事情发生在{month}。",
    "到了傍晚，{place}又恢复了平静。",
    "{person}感谢大家的耐心等待。",
    "因为天气晴好，许多家庭没有离开。",
    "编辑部收到{num}封关于{ys}的来信。",
    "第二次会议计划在{place}召开。",
    "{person}说孩子们很喜欢{xs}。",
    "{office}称这是平常的一天。",
)
_TOPICAL = (
    "本周的话题是{kp}。",
    "{person}就{kp}接受了采访。",
    "{office}回答了{num}个关于{kp}的问题。",
    "读者来信常常提到{kp}。",
)
_BANNER = ("活动的名称写在一条大横幅上。", "主办方挂出了写有活动名称的横幅。", "宽大的海报上公布了活动名称。")
_DISTRACTORS = ("前一天，警方在另一座城市找到{d}。", "另据报道，{d}以{num}千元售出。", "省城的一家博物馆上周买下{d}。")
_TITLES = (
    "{place}{day}出现{xs}",
    "{occasion}：{xs}与{ys}",
    "{xs}现身{place}",
    "{office}通报{place}情况",
    "{place}{day}发生了什么",
)


def thing(mention: Mention) -> str:
    """Return the phrase of a mention, e.g. 一辆红色的汽车."""
    kind = CLASSES[mention.name]
    colour = CHINESE_COLOURS[mention.colour]
    number = _COUNT[mention.count] + kind.measure
    return f"{number}穿{colour}外套的人" if mention.name == "person" else f"{number}{colour}的{kind.chinese}"


def short(mention: Mention) -> str:
    """Return a phrase without a number, e.g. 红色汽车."""
    colour = CHINESE_COLOURS[mention.colour]
    return f"穿{colour}外套的人" if mention.name == "person" else f"{colour}{CLASSES[mention.name].chinese}"


def event_name(fact: Facts) -> str | None:
    """Return the name that only a banner shows, e.g. 金秋丰收节."""
    if fact.event is None:
        return None
    nouns = CHINESE[fact.topic].event_nouns
    return _FANCY[fact.event[0] % len(_FANCY)] + nouns[fact.event[1] % len(nouns)]


def write(seed: int, fact: Facts) -> Article:
    """Return the Chinese article of a document."""
    topic = CHINESE[fact.topic]
    draw = rng(seed, fact.index, "chinese")
    pick = draw.choice
    place = topic.places[fact.place % len(topic.places)]
    occasion = topic.occasions[fact.occasion % len(topic.occasions)]
    outcome, upshot = topic.outcomes[fact.outcome % len(topic.outcomes)]
    phrase = topic.keyphrases[fact.keyphrase % len(topic.keyphrases)]
    fixed = {
        "x": thing(fact.subject), "xs": short(fact.subject), "y": thing(fact.landmark), "ys": short(fact.landmark),
        "xb": thing(fact.subject), "z": thing(fact.bystander), "d": thing(fact.distractor) if fact.distractor else "",
        "rel": RELATIONS[fact.relation][1], "place": place, "office": topic.offices[fact.office % len(topic.offices)],
        "occasion": occasion, "kp": phrase, "day": DAYS[fact.day],
    }  # fmt: skip
    number = _COUNT[fact.number]

    def write_one(template: str, num: str = number) -> Sentence:
        person = f"{pick(_SURNAMES)}{pick(_ROLES)}"
        return Sentence(
            template.format(**fixed, num=num, month=pick(MONTHS), person=person, upshot=upshot.format(num=num))
        )

    def fresh(template: str) -> Sentence:
        return write_one(template, _COUNT[draw.randint(2, 9)])

    opening = [write_one(pick(_LEADS)), write_one(pick(_BYSTANDERS)), write_one(outcome)]
    rest = [fresh(pick(_TOPICAL))] if fact.length > 3 else []
    if fact.event is not None and fact.length > 3:
        rest.append(write_one(pick(_BANNER)))
    distracting = fact.distractor is not None and fact.length > 4
    if distracting:
        rest.append(fresh(pick(_DISTRACTORS)))
    pool = draw.sample(topic.details, len(topic.details)) + draw.sample(_GENERIC, len(_GENERIC))
    draw.shuffle(pool)
    rest += [fresh(template) for template in pool[: max(0, fact.length - len(opening) - len(rest))]]
    draw.shuffle(rest)
    sentences = (*opening, *rest)
    named = (fact.subject, fact.landmark, fact.bystander) + (
        (fact.distractor,) if distracting and fact.distractor else ()
    )
    title = pick(_TITLES).format(**fixed)
    return Article(
        title,
        sentences,
        write_one(pick(_SUMMARIES)),
        _keyphrases(fact, phrase, sentences),
        named,
        place,
        DAYS[fact.day],
        occasion,
    )


def _keyphrases(fact: Facts, phrase: str, sentences: tuple[Sentence, ...]) -> tuple[Keyphrase, ...]:
    found = []
    if any(phrase in sentence.text for sentence in sentences):
        found.append(Keyphrase(phrase, "text"))
    name = event_name(fact)
    if name is not None:
        found.append(Keyphrase(name, "banner"))
    if fact.unseen is not None:
        found.append(Keyphrase(CLASSES[fact.unseen.name].chinese, "objects"))
    return tuple(found) or (Keyphrase(CLASSES[fact.subject.name].chinese, "text"),)


def caption(draw: random.Random, article: Article, told: list[Mention], relation: str | None, style: str) -> str:
    """Return a caption: `event` tells subject, relation and landmark, `objects` lists what is shown, `generic`
    tells neither.
    """
    if style == "event" and len(told) >= 2 and relation is not None:
        rel = RELATIONS[relation][1]
        patterns = ("{place}，{x}就在{y}{rel}。", "{y}{rel}的{x}，摄于{place}。", "{day}，{x}在{place}{y}的{rel}。")
        return draw.choice(patterns).format(
            place=article.place, day=article.day, x=thing(told[0]), y=thing(told[1]), rel=rel
        )
    if style == "objects" and told:
        return draw.choice(("图为{0}。", "画面中有{0}。")).format("和".join(thing(mention) for mention in told[:3]))
    patterns = (
        "{place}现场。",
        "{day}的{place}。",
        "资料图片：{place}一角。",
        "{place}，本报记者摄。",
        "{day}，本报记者在{place}拍摄。",
    )
    return draw.choice(patterns).format(place=article.place, day=article.day)
