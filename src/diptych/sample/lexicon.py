"""What can be drawn and named: object classes, colours and relations with their English and Chinese words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ObjectClass:
    """A class of drawn object: `aspect` is width / height of its box, `colours` the ones it may have."""

    name: str
    aspect: float
    size: float
    nouns: tuple[str, ...]
    chinese: str
    measure: str
    colours: tuple[str, ...]


COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 32, 38),
    "orange": (240, 130, 20),
    "yellow": (246, 212, 30),
    "green": (36, 148, 58),
    "blue": (32, 88, 196),
    "purple": (122, 44, 150),
    "pink": (244, 132, 182),
    "brown": (120, 72, 34),
    "black": (34, 34, 38),
    "white": (246, 246, 246),
    "grey": (134, 138, 144),
}

CHINESE_COLOURS = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色",
    "pink": "粉色", "brown": "棕色", "black": "黑色", "white": "白色", "grey": "灰色",
}  # fmt: skip

_PAINT = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
_BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink")
_FUR = ("brown", "black", "white", "orange", "grey")

CLASSES: dict[str, ObjectClass] = {
    entry.name: entry
    for entry in (
        ObjectClass("car", 2.0, 0.95, ("car", "car", "hatchback"), "汽车", "辆", _PAINT),
        ObjectClass("truck", 2.0, 1.15, ("truck", "truck", "lorry"), "卡车", "辆", _PAINT),
        ObjectClass("bus", 2.1, 1.2, ("bus", "bus", "coach"), "公交车", "辆", _PAINT),
        ObjectClass("bicycle", 1.55, 0.8, ("bicycle", "bicycle", "bike"), "自行车", "辆", _PAINT[:-1]),
        ObjectClass("boat", 1.35, 1.15, ("boat", "boat", "vessel"), "小船", "艘", _PAINT),
        ObjectClass("dog", 1.3, 0.75, ("dog",), "小狗", "只", _FUR),
        ObjectClass("cat", 0.95, 0.7, ("cat",), "猫", "只", _FUR),
        ObjectClass("bird", 1.25, 0.6, ("bird",), "小鸟", "只", ("red", "yellow", "blue", "black", "white", "green")),
        ObjectClass("person", 0.5, 0.85, ("woman", "man"), "人", "个", _BRIGHT + ("black", "white")),
        ObjectClass("ball", 1.0, 0.5, ("ball",), "皮球", "个", _BRIGHT),
        ObjectClass("kite", 0.75, 0.8, ("kite",), "风筝", "只", _BRIGHT),
        ObjectClass("tree", 0.8, 1.2, ("tree",), "大树", "棵", ("green", "orange", "yellow", "pink", "red")),
        ObjectClass("house", 1.1, 1.25, ("house", "house", "cottage"), "房子", "座", _PAINT),
        ObjectClass("lamp", 0.34, 0.75, ("lamp",), "路灯", "盏", ("black", "green", "blue", "red")),
        ObjectClass("umbrella", 1.05, 0.8, ("umbrella",), "雨伞", "把", _BRIGHT),
        ObjectClass("balloon", 0.6, 0.65, ("balloon",), "气球", "只", _BRIGHT),
        ObjectClass("tent", 1.4, 1.0, ("tent",), "帐篷", "顶", _BRIGHT + ("white",)),
        ObjectClass("flag", 0.9, 0.8, ("flag",), "旗子", "面", _BRIGHT),
        ObjectClass("bench", 1.7, 0.8, ("bench",), "长椅", "把", ("brown", "green", "blue", "red", "black")),
    )
}


@dataclass(frozen=True)
class TopicObjects:
    """Which classes the articles of a topic name, and which only stand in its pictures (the implicit ones)."""

    named: tuple[str, ...]
    implied: tuple[str, ...]


TOPICS: dict[str, TopicObjects] = {
    "traffic": TopicObjects(("car", "truck", "bus", "bicycle"), ("lamp", "bench")),
    "harbour": TopicObjects(("boat", "house", "person"), ("bird", "flag")),
    "shelter": TopicObjects(("dog", "cat", "bird", "person"), ("ball", "house")),
    "storm": TopicObjects(("tree", "house", "car", "bus"), ("umbrella", "lamp")),
    "football": TopicObjects(("person", "dog", "bus"), ("ball", "flag")),
    "festival": TopicObjects(("kite", "tent", "person", "tree"), ("balloon", "bird")),
    "race": TopicObjects(("bicycle", "person", "dog", "boat"), ("flag", "car")),
    "park": TopicObjects(("tree", "dog", "cat", "person"), ("bench", "bird")),
    "housing": TopicObjects(("house", "tree", "car", "bicycle"), ("truck", "lamp")),
    "market": TopicObjects(("truck", "bicycle", "person", "cat"), ("umbrella", "tent")),
}

RELATIONS: dict[str, tuple[str, str]] = {
    # relation -> (English in the grammar's notation, opened before the landmark; Chinese after the landmark)
    "in_front_of": ("in/IN [NP front/NN] [PP of/IN {}]", "前面"),
    "behind": ("behind/IN {}", "后面"),
    "beside": ("beside/IN {}", "旁边"),
    "next_to": ("next/JJ [PP to/IN {}]", "一侧"),
}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
CHINESE_NUMBERS = {1: "一", 2: "两", 3: "三", 4: "四", 5: "五", 6: "六"}
