"""American spellings of British words, from the table of the package breame (Apache-2.0)."""

from __future__ import annotations

from functools import cache

from diptych.exceptions import MissingExtra

__all__ = ["american"]

_LEFT_ALONE = frozenset(
    """aesthete aesthetes aesthetic aesthetically aesthetics analogue analogues archaeological archaeologically
    archaeologist archaeologists archaeology axe battleaxe bevvies bevvy bougainvillaea bougainvillaeas buses chilli
    dialogue dialogues disc discs edoema epilogue epilogues fillet fillets filleted filleting foetid gases gauge gauged
    gauges gauging groyne groynes likeable louvre louvres minibuses monologue monologues omelette omelettes philtre
    philtres prologue prologues pzazz sheikh snowploughs tonne tonnes tranquilly travelogue travelogues videodisc
    videodiscs woolly worshipped worshipping worshipper pummelled pummelling""".split()
)
"""Words of the table that are American as they are, mean something else, or come out wrong."""
_ADDED = {
    "carburettor": "carburetor", "carburettors": "carburetors", "cheque": "check", "cheques": "checks",
    "equalled": "equaled", "equalling": "equaling", "fuelled": "fueled", "fuelling": "fueling", "gaol": "jail",
    "kerb": "curb", "kerbs": "curbs", "mollusc": "mollusk", "molluscs": "mollusks", "skilful": "skillful",
    "skilfully": "skillfully", "storey": "story", "storeys": "stories", "totalled": "totaled", "totalling": "totaling",
    "wilful": "willful", "wilfully": "willfully",
}  # fmt: skip
"""Words that the table lacks."""


def american(word: str) -> str | None:
    """The American spelling of an English word, in its case (lower, Title, UPPER); None when it is no British one."""
    found = _table().get(word.lower())
    if found is None:
        return None
    if word.islower():
        return found
    return found.upper() if word.isupper() else found.capitalize() if word.istitle() else None


@cache
def _table() -> dict[str, str]:
    try:
        from breame.data.spelling_constants import BRITISH_ENGLISH_SPELLINGS
    except ImportError as error:
        raise MissingExtra("breame", "text") from error
    table: dict[str, str] = BRITISH_ENGLISH_SPELLINGS
    return {british: word for british, word in (table | _ADDED).items() if british not in _LEFT_ALONE}
