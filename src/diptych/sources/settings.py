"""How a source's URLs are fetched: the recipe keys under ``fetch``, all with polite defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import Field, field_validator

from diptych.exceptions import RecipeError
from diptych.settings import Settings
from diptych.sources.base import SourceConfig

__all__ = ["FetchOptions", "FetchSettings", "RemoteConfig", "Secrets", "read_secrets", "user_agent"]

Directive = Literal["noindex", "noimageindex", "noai", "noimageai", "noml", "none"]
_CONTACT = re.compile(r"(https?://\S+|(mailto:)?[^@\s()]+@[^@\s()]+\.[^@\s()]+)")


class FetchOptions(Settings):
    """Politeness and limits of one source's requests; times in seconds, sizes in bytes."""

    agent: str = Field(default="Diptych", pattern=r"^[A-Za-z][A-Za-z_-]{1,40}$", description="Name in robots.txt")
    per_host: int = Field(default=4, ge=1, le=64, description="Requests to one host at a time")
    delay: float = Field(default=0.0, ge=0, description="Seconds between the starts of two requests to one host")
    max_crawl_delay: float = Field(default=60.0, ge=0, description="A longer Crawl-delay counts as this")
    retries: int = Field(default=2, ge=0, le=10, description="Further attempts after a failure that can heal")
    backoff: float = Field(default=0.5, ge=0, description="Pause before the first retry; doubles, with jitter")
    max_retry_after: float = Field(default=120.0, ge=0, description="A host that asks for more rests this crawl")
    timeout: float = Field(default=20.0, gt=0, description="Connecting, and silence while reading")
    total_time: float = Field(default=60.0, gt=0, description="One request with its body")
    max_page: int = Field(default=10_000_000, gt=0, description="Decoded bytes of a page, feed or sitemap")
    max_image: int = Field(default=30_000_000, gt=0, description="Decoded bytes of an image")
    max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects in a row that are followed")
    robots: bool = Field(default=True, description="Obey robots.txt; false only for your own hosts")
    respect: tuple[Directive, ...] = Field(
        default=("noindex", "noimageindex", "noai", "noimageai", "noml"),
        description="Words of X-Robots-Tag and of a page's meta tags that keep it, or its pictures, out",
    )
    allow_private: bool = Field(default=False, description="Also fetch from private and loopback addresses")
    host_failures: int = Field(default=10, ge=1, description="Failed connections in a row after which a host rests")
    headers_from: dict[str, str] = Field(default={}, description="Header name: environment variable with its value")
    cookies_from: str = Field(default="", description="Environment variable with the path of a cookies.txt")
    proxy_from: str = Field(default="", description="Environment variable with the proxy's URL")


class FetchSettings(FetchOptions):
    """The options of one source with its identity."""

    contact: str


class RemoteConfig(SourceConfig):
    """Settings of a source that asks other people's servers: without a ``contact`` it is refused."""

    contact: str = Field(
        description="A page or mail address that tells who crawls, in the User-Agent; else the recipe's"
    )
    fetch: FetchOptions = Field(default=FetchOptions(), description="Politeness and limits of its requests")

    @field_validator("contact")
    @classmethod
    def _reachable(cls, contact: str) -> str:
        if not _CONTACT.fullmatch(contact) or not contact.isascii():
            raise ValueError(f"expected a URL or mail address that reaches you, found {contact!r}")
        return contact

    def fetch_settings(self) -> FetchSettings:
        """The fetch options with the contact."""
        return FetchSettings(contact=self.contact, **self.fetch.model_dump())


@dataclass(frozen=True)
class Secrets:
    """What came from the environment; never stored, never logged, sent to the source's own origins only."""

    headers: Mapping[str, str]
    cookie_file: str = ""
    proxy: str = ""


def read_secrets(settings: FetchSettings, environ: Mapping[str, str], source: str) -> Secrets:
    """The values the settings name; :class:`RecipeError` naming a variable that is not set."""

    def value(name: str, key: str) -> str:
        if name not in environ:
            raise RecipeError(f"source {source!r}, fetch.{key}: the environment variable {name} is not set; set it")
        return environ[name]

    headers = {header: value(name, f"headers_from.{header}") for header, name in settings.headers_from.items()}
    cookies = value(settings.cookies_from, "cookies_from") if settings.cookies_from else ""
    proxy = value(settings.proxy_from, "proxy_from") if settings.proxy_from else ""
    return Secrets(headers, cookies, proxy)


def user_agent(settings: FetchSettings) -> str:
    """``Diptych/1.0 (+contact)``."""
    try:
        release = version("diptych")
    except PackageNotFoundError:
        release = "0"
    return f"{settings.agent}/{release} (+{settings.contact})"
