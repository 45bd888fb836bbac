# ruff: noqa: E501  (one sentence of the grammar a line)
# fmt: off
"""English words of the other five topics (see english_topics.py)."""

from __future__ import annotations

from diptych.sample.english_topics import EnglishTopic

MORE_ENGLISH_TOPICS: dict[str, EnglishTopic] = {
    "festival": EnglishTopic(
        places=("the/DT long/JJ beach/NN", "the/DT upper/JJ meadow/NN", "the/DT castle/NN hill/NN", "the/DT open/JJ field/NN", "Sunset/NNP Point/NNP"),
        offices=("the/DT festival/NN committee/NN", "the/DT flying/NN club/NN", "the/DT culture/NN office/NN"),
        keyphrases=("the/DT summer/NN festival/NN", "free/JJ entry/NN", "folk/NN music/NN", "evening/NN fireworks/NNS", "the/DT flying/NN contest/NN", "the/DT craft/NN workshop/NN"),
        event_nouns=("Sky/NNP Festival/NNP", "Wind/NNP Fair/NNP", "Lantern/NNP Night/NNP", "Music/NNP Days/NNPS"),
        occasions=(
            ("the opening", "[SBAR as/IN [S [NP the/DT festival/NN] [VP opened/VBD]]]"),
            ("a sudden gust", "[SBAR when/WRB [S [NP a/DT gust/NN] [VP crossed/VBD [NP the/DT grass/NN]]]]"),
            ("the music", "[SBAR while/IN [S [NP a/DT band/NN] [VP played/VBD]]]"),
            ("the prize giving", "[PP before/IN [NP the/DT prize/NN giving/NN]]"),
        ),
        outcomes=(
            ("[NP The/DT wind/NN] [VP held/VBD [PP for/IN [NP <num> hours/NNS]]] ./.", "[NP the/DT show/NN] [VP went/VBD [PRT on/RP] [PP for/IN [NP <num> hours/NNS]]]"),
            ("[NP The/DT gates/NNS] [VP counted/VBD [NP <num> thousand/CD visitors/NNS]] ./.", "[NP <num> thousand/CD guests/NNS] [VP came/VBD]"),
            ("[NP The/DT jury/NN] [VP gave/VBD [NP <num> prizes/NNS]] ./.", "[NP <num> winners/NNS] [VP were/VBD [VP named/VBN]]"),
        ),
        details=(
            "[NP Drummers/NNS] [VP led/VBD [NP the/DT parade/NN] [PP through/IN [NP the/DT gate/NN]]] ./.",
            "[NP Cooks/NNS] [VP sold/VBD [NP <num> hundred/CD pancakes/NNS] [PP before/IN [NP noon/NN]]] ./.",
            "[NP <office>] [VP thanked/VBD [NP the/DT helpers/NNS] [PP for/IN [NP a/DT quiet/JJ night/NN]]] ./.",
            "[NP Guests/NNS] [VP came/VBD [PP for/IN [NP <kp>]]] ./.",
            "[NP The/DT next/JJ edition/NN] [VP is/VBZ [VP planned/VBN [PP for/IN [NP <month>]]]] ./.",
            "[NP The/DT oldest/JJS pilot/NN] [VP has/VBZ [VP taken/VBN [NP part/NN] [NP <num> times/NNS]]] ./.",
            "[NP Dark/JJ clouds/NNS] [VP kept/VBD [NP the/DT judges/NNS] [ADJP busy/JJ]] ./.",
        ),
    ),
    "race": EnglishTopic(
        places=("the/DT river/NN path/NN", "the/DT finish/NN line/NN", "the/DT mountain/NN pass/NN", "the/DT canal/NN bridge/NN", "Lower/NNP Valley/NNP"),
        offices=("the/DT race/NN director/NN", "the/DT cycling/NN union/NN", "the/DT timing/NN team/NN"),
        keyphrases=("the/DT final/JJ stage/NN", "the/DT yellow/JJ jersey/NN", "the/DT mountain/NN stage/NN", "the/DT doping/NN test/NN", "the/DT team/NN trial/NN", "the/DT course/NN record/NN"),
        event_nouns=("Grand/NNP Tour/NNP", "River/NNP Run/NNP", "Hill/NNP Climb/NNP", "Classic/NNP"),
        occasions=(
            ("the final stage", "[PP during/IN [NP the/DT final/JJ stage/NN]]"),
            ("the sprint", "[SBAR before/IN [S [NP the/DT sprint/NN] [VP began/VBD]]]"),
            ("a crash in the pack", "[SBAR after/IN [S [NP the/DT leaders/NNS] [VP fell/VBD]]]"),
            ("the warm up", "[SBAR while/IN [S [NP the/DT riders/NNS] [VP warmed/VBD [PRT up/RP]]]]"),
        ),
        outcomes=(
            ("[NP The/DT winner/NN] [VP led/VBD [PP by/IN [NP <num> seconds/NNS]]] ./.", "[NP <num> seconds/NNS] [VP decided/VBD [NP the/DT day/NN]]"),
            ("[NP The/DT start/NN] [VP moved/VBD [PRT back/RP] [PP by/IN [NP <num> minutes/NNS]]] ./.", "[NP the/DT start/NN] [VP came/VBD [NP <num> minutes/NNS] late/RB]"),
            ("[NP <num> riders/NNS] [VP gave/VBD [PRT up/RP] [PP on/IN [NP the/DT climb/NN]]] ./.", "[NP <num> athletes/NNS] [VP dropped/VBD [PRT out/RP]]"),
        ),
        details=(
            "[NP The/DT course/NN] [VP climbs/VBZ [NP <num> hundred/CD metres/NNS]] ./.",
            "[NP Helpers/NNS] [VP handed/VBD [PRT out/RP] [NP [NP water/NN] and/CC [NP fruit/NN]]] ./.",
            "[NP <office>] [VP checked/VBD [NP every/DT number/NN] [ADVP twice/RB]] ./.",
            "[NP Reporters/NNS] [VP asked/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP The/DT champion/NN] [VP trained/VBD [PP in/IN [NP the/DT south/NN]] [PP since/IN [NP <month>]]] ./.",
            "[NP Loose/JJ gravel/NN] [VP made/VBD [NP the/DT last/JJ bend/NN] [ADJP dangerous/JJ]] ./.",
            "[NP A/DT doctor/NN] [VP followed/VBD [NP the/DT slower/JJR group/NN]] ./.",
        ),
    ),
    "park": EnglishTopic(
        places=("the/DT botanical/JJ garden/NN", "the/DT lake/NN path/NN", "the/DT rose/NN garden/NN", "Castle/NNP Park/NNP", "the/DT playground/NN"),
        offices=("the/DT park/NN ranger/NN", "the/DT garden/NN office/NN", "the/DT forest/NN service/NN"),
        keyphrases=("the/DT nature/NN trail/NN", "the/DT picnic/NN area/NN", "spring/NN flowers/NNS", "opening/NN hours/NNS", "water/NN quality/NN", "the/DT guided/JJ walk/NN"),
        event_nouns=("Garden/NNP Day/NNP", "Picnic/NNP Sunday/NNP", "Flower/NNP Show/NNP", "Nature/NNP Walk/NNP"),
        occasions=(
            ("the morning walk", "[PP during/IN [NP the/DT morning/NN walk/NN]]"),
            ("first blossom", "[SBAR when/WRB [S [NP the/DT first/JJ flowers/NNS] [VP opened/VBD]]]"),
            ("the picnic", "[SBAR as/IN [S [NP families/NNS] [VP unpacked/VBD [NP their/PRP$ baskets/NNS]]]]"),
            ("a guided tour", "[PP on/IN [NP a/DT guided/JJ tour/NN]]"),
        ),
        outcomes=(
            ("[NP The/DT path/NN] [VP was/VBD [VP closed/VBN [PP for/IN [NP <num> days/NNS]]]] ./.", "[NP the/DT path/NN] [VP reopens/VBZ [PP in/IN [NP <num> days/NNS]]]"),
            ("[NP Gardeners/NNS] [VP planted/VBD [NP <num> hundred/CD tulips/NNS]] ./.", "[NP <num> hundred/CD tulips/NNS] [VP went/VBD [PP into/IN [NP the/DT ground/NN]]]"),
            ("[NP The/DT tour/NN] [VP took/VBD [NP <num> hours/NNS]] ./.", "[NP visitors/NNS] [VP walked/VBD [PP for/IN [NP <num> hours/NNS]]]"),
        ),
        details=(
            "[NP The/DT pond/NN] [VP is/VBZ [ADJP clean/JJ] again/RB [PP since/IN [NP <month>]]] ./.",
            "[NP Rangers/NNS] [VP mend/VBP [NP the/DT fences/NNS] [PP in/IN [NP winter/NN]]] ./.",
            "[NP <office>] [VP handed/VBD [PRT out/RP] [NP maps/NNS]] ./.",
            "[NP A/DT sign/NN] [VP explains/VBZ [NP <kp>]] ./.",
            "[NP School/NN classes/NNS] [VP counted/VBD [NP <num> kinds/NNS] [PP of/IN [NP moss/NN]]] ./.",
            "[NP The/DT café/NN] [VP sells/VBZ [NP [NP lemonade/NN] and/CC [NP cake/NN]]] ./.",
            "[NP Squirrels/NNS] [VP have/VBP [VP stolen/VBN [NP the/DT nuts/NNS] [ADVP again/RB]]] ./.",
        ),
    ),
    "housing": EnglishTopic(
        places=("Garden/NNP Street/NNP", "the/DT new/JJ estate/NN", "the/DT brick/NN works/NNS", "the/DT eastern/JJ quarter/NN", "Bell/NNP Court/NNP"),
        offices=("the/DT building/NN office/NN", "the/DT tenants/NNS union/NN", "the/DT planning/NN board/NN"),
        keyphrases=("rent/NN control/NN", "the/DT building/NN permit/NN", "the/DT roof/NN repair/NN", "heating/NN costs/NNS", "affordable/JJ homes/NNS", "noise/NN protection/NN"),
        event_nouns=("Builders/NNPS Fair/NNP", "Open/NNP Doors/NNPS", "Housing/NNP Forum/NNP", "Street/NNP Fair/NNP"),
        occasions=(
            ("the key handover", "[PP at/IN [NP the/DT key/JJ handover/NN]]"),
            ("the inspection", "[SBAR before/IN [S [NP the/DT inspectors/NNS] [VP came/VBD]]]"),
            ("a rent dispute", "[PP after/IN [NP a/DT long/JJ dispute/NN]]"),
            ("the topping out", "[SBAR while/IN [S [NP the/DT builders/NNS] [VP celebrated/VBD]]]"),
        ),
        outcomes=(
            ("[NP <num> families/NNS] [VP moved/VBD [PRT in/RP]] ./.", "[NP <num> families/NNS] [VP have/VBP [NP a/DT new/JJ address/NN]]"),
            ("[NP The/DT work/NN] [VP took/VBD [NP <num> months/NNS]] ./.", "[NP the/DT site/NN] [VP was/VBD [ADJP ready/JJ] [PP after/IN [NP <num> months/NNS]]]"),
            ("[NP Rents/NNS] [VP will/MD [VP rise/VB [PP by/IN [NP <num> percent/NN]]]] ./.", "[NP tenants/NNS] [VP will/MD [VP pay/VB [NP <num> percent/NN] more/RBR]]"),
        ),
        details=(
            "[NP Bricklayers/NNS] [VP worked/VBD [PP through/IN [NP the/DT weekend/NN]]] ./.",
            "[NP The/DT old/JJ pipes/NNS] [VP date/VBP [PP from/IN [NP the/DT last/JJ century/NN]]] ./.",
            "[NP <office>] [VP published/VBD [NP the/DT plans/NNS] [PP in/IN [NP <month>]]] ./.",
            "[NP Neighbours/NNS] [VP argued/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP The/DT architect/NN] [VP likes/VBZ [NP wooden/JJ stairs/NNS]] ./.",
            "[NP The/DT bank/NN] [VP lends/VBZ [NP <num> million/CD euros/NNS]] ./.",
            "[NP Dust/NN] [VP covered/VBD [NP the/DT whole/JJ block/NN] [PP for/IN [NP weeks/NNS]]] ./.",
        ),
    ),
    "market": EnglishTopic(
        places=("the/DT market/NN square/NN", "the/DT flower/NN hall/NN", "Baker/NNP Street/NNP", "the/DT corner/NN shop/NN", "the/DT town/NN hall/NN"),
        offices=("the/DT market/NN warden/NN", "the/DT traders/NNS guild/NN", "the/DT food/NN inspector/NN"),
        keyphrases=("fresh/JJ vegetables/NNS", "market/NN stalls/NNS", "the/DT apple/NN harvest/NN", "organic/JJ bread/NN", "the/DT price/NN rise/NN", "local/JJ farmers/NNS"),
        event_nouns=("Night/NNP Market/NNP", "Harvest/NNP Sale/NNP", "Cheese/NNP Fair/NNP", "Honey/NNP Days/NNPS"),
        occasions=(
            ("market day", "[SBAR as/IN [S [NP the/DT stalls/NNS] [VP opened/VBD]]]"),
            ("the apple sale", "[PP during/IN [NP the/DT apple/NN sale/NN]]"),
            ("early deliveries", "[SBAR before/IN [S [NP the/DT first/JJ customers/NNS] [VP arrived/VBD]]]"),
            ("the lunch break", "[PP in/IN [NP the/DT lunch/NN break/NN]]"),
        ),
        outcomes=(
            ("[NP Traders/NNS] [VP sold/VBD [NP [NP <num> tons/NNS] [PP of/IN [NP apples/NNS]]]] ./.", "[NP [NP <num> tons/NNS] [PP of/IN [NP fruit/NN]]] [VP changed/VBD [NP hands/NNS]]"),
            ("[NP Prices/NNS] [VP fell/VBD [PP by/IN [NP <num> percent/NN]]] ./.", "[NP shoppers/NNS] [VP paid/VBD [NP <num> percent/NN] less/RBR]"),
            ("[NP The/DT queue/NN] [VP lasted/VBD [NP <num> hours/NNS]] ./.", "[NP customers/NNS] [VP queued/VBD [PP for/IN [NP <num> hours/NNS]]]"),
        ),
        details=(
            "[NP The/DT baker/NN] [VP ran/VBD [ADVP out/RB] [PP of/IN [NP rye/NN bread/NN]]] ./.",
            "[NP Honey/NN] [VP costs/VBZ [NP <num> euros/NNS] [NP a/DT jar/NN]] ./.",
            "[NP <office>] [VP weighed/VBD [NP every/DT basket/NN]] ./.",
            "[NP Customers/NNS] [VP spoke/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP The/DT cheese/NN] [VP ripens/VBZ [PP until/IN [NP <month>]]] ./.",
            "[NP A/DT violin/NN player/NN] [VP entertained/VBD [NP the/DT queue/NN]] ./.",
            "[NP Rain/NN] [VP spoiled/VBD [NP the/DT last/JJ cherries/NNS]] ./.",
        ),
    ),
}
