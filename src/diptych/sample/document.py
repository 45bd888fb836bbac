"""A document of the sample site: the words, the pictures in the order of the page, and how the page is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from diptych.sample.article import Article, Sentence
from diptych.sample.picture import FilePlan
from diptych.sample.scene import Scene
from diptych.sample.story import Facts


@dataclass(frozen=True)
class Judgement:
    """How a picture relates to its document; None where nobody could tell (photographs, posters, colours in a grey
    picture).
    """

    relevance: str | None = None
    cmi: float | None = None
    sc: float | None = None


@dataclass(frozen=True)
class SampleImage:
    """One picture of a page.

    `delivery`: ok, http_404, http_410, http_500, flaky, slow, timeout, redirect, redirect_loop, robots.
    `reason` is the code under which a cleaner rejects it, `also` further codes that would be right.
    `place`: article, header or aside. `markup`: figure, alt, srcset or lazy. `copy_of` and `shared_with` name an
    image path.
    """

    path: str
    role: str
    plan: FilePlan
    keep: bool = True
    reason: str | None = None
    also: tuple[str, ...] = ()
    delivery: str = "ok"
    place: str = "article"
    markup: str = "figure"
    caption: Sentence | None = None
    caption_style: str = "none"
    judgement: Judgement = field(default_factory=Judgement)
    descriptions: tuple[Sentence, ...] = ()
    copy_of: str | None = None
    shared_with: tuple[int, str] | None = None
    colours_visible: bool = True

    @property
    def scene(self) -> Scene | None:
        """Return what is drawn, None for photographs and the like."""
        return self.plan.picture.scene


@dataclass(frozen=True)
class PageStyle:
    """How the page is written and served; `delivery`: ok, flaky, slow or redirect."""

    charset: str = "utf-8"
    base_href: bool = False
    description: bool = True
    keywords: bool = True
    delivery: str = "ok"


@dataclass(frozen=True)
class SampleDocument:
    """One article of the site with everything that is true about it."""

    index: int
    path: str
    facts: Facts
    article: Article
    images: tuple[SampleImage, ...]
    style: PageStyle
    published: str
    revision: int = 0
    group: int = 0

    @property
    def language(self) -> str:
        return self.facts.language

    @property
    def requested(self) -> str:
        """Return the path under which index, sitemap and feed link the page: through /go/ when it is redirected."""
        return f"/go{self.path}" if self.style.delivery == "redirect" else self.path

    @property
    def kept(self) -> tuple[SampleImage, ...]:
        """Return the pictures a perfect cleaner keeps."""
        return tuple(image for image in self.images if image.keep)

    @property
    def best(self) -> SampleImage | None:
        """Return the picture that agrees with the summary in objects and relation, None when the page has none."""
        return next((image for image in self.images if image.role == "best" and image.keep), None)

    @property
    def best_caption(self) -> SampleImage | None:
        """Return the picture whose caption tells the main event, None when all captions are uninformative."""
        return next((image for image in self.images if image.caption_style == "event" and image.keep), None)
