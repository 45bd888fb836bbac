# ruff: noqa: E501  (one sentence of the grammar a line)
# fmt: off
"""English words of the ten topics: places, offices, keyphrases, occasions, outcomes and details, in the notation of trees.py.

No template names a drawable class: only the grammar's mentions do, so that what an article names is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EnglishTopic:
    """The topic's share of the grammar; outcomes are pairs (sentence of the body, clause of the summary)."""

    places: tuple[str, ...]
    offices: tuple[str, ...]
    keyphrases: tuple[str, ...]
    event_nouns: tuple[str, ...]
    occasions: tuple[tuple[str, str], ...]
    outcomes: tuple[tuple[str, str], ...]
    details: tuple[str, ...]


ENGLISH_TOPICS: dict[str, EnglishTopic] = {
    "traffic": EnglishTopic(
        places=("Mill/NNP Lane/NNP", "Station/NNP Road/NNP", "the/DT northern/JJ crossing/NN", "the/DT ring/NN road/NN", "Kings/NNP Avenue/NNP"),
        offices=("the/DT traffic/NN police/NN", "the/DT road/NN authority/NN", "the/DT transport/NN office/NN"),
        keyphrases=("road/NN safety/NN", "the/DT speed/NN limit/NN", "the/DT rush/NN hour/NN", "the/DT traffic/NN jam/NN", "road/NN works/NNS", "parking/NN fees/NNS"),
        event_nouns=("Safety/NNP Week/NNP", "Crossing/NNP Plan/NNP", "Road/NNP Scheme/NNP", "Bypass/NNP Project/NNP"),
        occasions=(
            ("the morning jam", "[SBAR as/IN [S [NP the/DT morning/NN jam/NN] [VP reached/VBD [NP its/PRP$ peak/NN]]]]"),
            ("a signal failure", "[SBAR after/IN [S [NP the/DT signals/NNS] [VP failed/VBD]]]"),
            ("the road works", "[SBAR while/IN [S [NP workers/NNS] [VP repaired/VBD [NP the/DT surface/NN]]]]"),
            ("a braking test", "[PP during/IN [NP [NP a/DT test/NN] [PP of/IN [NP new/JJ brakes/NNS]]]]"),
        ),
        outcomes=(
            ("[NP Drivers/NNS] [VP waited/VBD [PP for/IN [NP <num> hours/NNS]]] ./.", "[NP traffic/NN] [VP stood/VBD still/RB [PP for/IN [NP <num> hours/NNS]]]"),
            ("[NP Officers/NNS] [VP closed/VBD [NP <num> lanes/NNS] [PP until/IN [NP noon/NN]]] ./.", "[NP <num> lanes/NNS] [VP were/VBD [VP shut/VBN [PP for/IN [NP the/DT morning/NN]]]]"),
            ("[S [NP No/DT one/NN] [VP was/VBD [ADJP hurt/JJ]]] ,/, but/CC [S [NP the/DT damage/NN] [VP cost/VBD [NP <num> thousand/CD euros/NNS]]] ./.",
             "[NP the/DT damage/NN] [VP came/VBD [PP to/TO [NP <num> thousand/CD euros/NNS]]]"),
        ),
        details=(
            "[NP The/DT junction/NN] [VP has/VBZ [VP been/VBN [NP [NP a/DT subject/NN] [PP of/IN [NP complaint/NN]]] [PP for/IN [NP years/NNS]]]] ./.",
            "[NP <office>] [VP measured/VBD [NP the/DT braking/NN marks/NNS] [PP with/IN [NP a/DT laser/NN]]] ./.",
            "[NP A/DT new/JJ roundabout/NN] [VP will/MD [VP open/VB [PP in/IN [NP <month>]]]] ./.",
            "[NP Witnesses/NNS] [VP spoke/VBD [PP of/IN [NP a/DT loud/JJ noise/NN]]] ./.",
            "[NP The/DT council/NN] [VP talked/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP Commuters/NNS] [VP found/VBD [NP another/DT way/NN] [PP through/IN [NP the/DT side/NN streets/NNS]]] ./.",
            "[NP The/DT signals/NNS] [VP were/VBD [VP replaced/VBN [PP within/IN [NP <num> days/NNS]]]] ./.",
        ),
    ),
    "harbour": EnglishTopic(
        places=("the/DT old/JJ pier/NN", "the/DT fishing/NN quay/NN", "the/DT southern/JJ dock/NN", "the/DT ferry/NN landing/NN", "Anchor/NNP Bay/NNP"),
        offices=("the/DT harbour/NN master/NN", "the/DT coast/NN guard/NN", "the/DT port/NN authority/NN"),
        keyphrases=("the/DT fishing/NN season/NN", "the/DT ferry/NN timetable/NN", "the/DT spring/NN tide/NN", "the/DT sea/NN wall/NN", "fish/NN prices/NNS", "the/DT harbour/NN tour/NN"),
        event_nouns=("Regatta/NNP", "Harbour/NNP Days/NNPS", "Sailing/NNP Cup/NNP", "Fish/NNP Festival/NNP"),
        occasions=(
            ("the spring tide", "[SBAR when/WRB [S [NP the/DT tide/NN] [VP turned/VBD]]]"),
            ("the first ferry", "[SBAR before/IN [S [NP the/DT first/JJ ferry/NN] [VP sailed/VBD]]]"),
            ("the herring sale", "[PP during/IN [NP the/DT herring/NN sale/NN]]"),
            ("thick fog", "[SBAR as/IN [S [NP thick/JJ fog/NN] [VP rolled/VBD [PRT in/RP]]]]"),
        ),
        outcomes=(
            ("[NP The/DT ferry/NN] [VP left/VBD [NP <num> hours/NNS] late/RB] ./.", "[NP the/DT ferry/NN] [VP was/VBD [VP delayed/VBN [PP by/IN [NP <num> hours/NNS]]]]"),
            ("[NP Divers/NNS] [VP searched/VBD [NP the/DT basin/NN] [PP for/IN [NP <num> days/NNS]]] ./.", "[NP divers/NNS] [VP worked/VBD [PP for/IN [NP <num> days/NNS]]]"),
            ("[NP The/DT crew/NN] [VP landed/VBD [NP [NP <num> tons/NNS] [PP of/IN [NP herring/NN]]]] ./.", "[NP [NP <num> tons/NNS] [PP of/IN [NP herring/NN]]] [VP came/VBD [ADVP ashore/RB]]"),
        ),
        details=(
            "[NP The/DT water/NN] [VP stood/VBD [NP <num> metres/NNS] higher/RBR [PP than/IN [ADJP usual/JJ]]] ./.",
            "[NP Sailors/NNS] [VP tied/VBD [NP the/DT ropes/NNS] twice/RB [PP because/IN of/IN [NP the/DT wind/NN]]] ./.",
            "[NP The/DT fish/NN auction/NN] [VP opens/VBZ [ADVP early/RB] [PP in/IN [NP <month>]]] ./.",
            "[NP <office>] [VP warned/VBD [NP swimmers/NNS] [PP about/IN [NP the/DT current/NN]]] ./.",
            "[NP Visitors/NNS] [VP asked/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP The/DT lighthouse/NN] [VP was/VBD [VP painted/VBN [PP in/IN [NP <month>]]]] ./.",
            "[NP Salt/NN water/NN] [VP had/VBD [VP damaged/VBN [NP the/DT planks/NNS]]] ./.",
        ),
    ),
    "shelter": EnglishTopic(
        places=("the/DT animal/NN shelter/NN", "the/DT rescue/NN station/NN", "the/DT pet/NN clinic/NN", "Rose/NNP Farm/NNP", "the/DT city/NN pound/NN"),
        offices=("the/DT animal/NN shelter/NN", "the/DT rescue/NN society/NN", "the/DT chief/JJ vet/NN"),
        keyphrases=("pet/NN adoption/NN", "animal/NN rescue/NN", "free/JJ vaccination/NN", "lost/JJ pets/NNS", "animal/NN welfare/NN", "feeding/NN time/NN"),
        event_nouns=("Adoption/NNP Day/NNP", "Pet/NNP Parade/NNP", "Rescue/NNP Gala/NNP", "Paws/NNPS Weekend/NNP"),
        occasions=(
            ("open day", "[PP during/IN [NP the/DT open/JJ day/NN]]"),
            ("the vet's visit", "[SBAR before/IN [S [NP the/DT vet/NN] [VP arrived/VBD]]]"),
            ("a rescue", "[SBAR after/IN [S [NP volunteers/NNS] [VP searched/VBD [NP an/DT empty/JJ yard/NN]]]]"),
            ("feeding time", "[SBAR while/IN [S [NP the/DT keepers/NNS] [VP prepared/VBD [NP breakfast/NN]]]]"),
        ),
        outcomes=(
            ("[NP <num> families/NNS] [VP signed/VBD [NP the/DT adoption/NN papers/NNS]] ./.", "[NP <num> animals/NNS] [VP found/VBD [NP a/DT new/JJ home/NN]]"),
            ("[NP The/DT vet/NN] [VP stayed/VBD [PP for/IN [NP <num> hours/NNS]]] ./.", "[NP treatment/NN] [VP lasted/VBD [NP <num> hours/NNS]]"),
            ("[NP Donors/NNS] [VP gave/VBD [NP <num> hundred/CD euros/NNS] [PP before/IN [NP lunch/NN]]] ./.", "[NP the/DT morning/NN] [VP raised/VBD [NP <num> hundred/CD euros/NNS]]"),
        ),
        details=(
            "[NP Volunteers/NNS] [VP cleaned/VBD [NP the/DT cages/NNS] [PP before/IN [NP dawn/NN]]] ./.",
            "[NP Most/JJS animals/NNS] [VP arrive/VBP [PP without/IN [NP a/DT chip/NN]]] ./.",
            "[NP The/DT vet/NN] [VP gave/VBD [NP a/DT talk/NN] [PP on/IN [NP <kp>]]] ./.",
            "[NP <office>] [VP needs/VBZ [NP blankets/NNS] [PP for/IN [NP the/DT winter/NN]]] ./.",
            "[NP Children/NNS] [VP brought/VBD [NP [NP toys/NNS] and/CC [NP old/JJ towels/NNS]]] ./.",
            "[NP The/DT waiting/NN list/NN] [VP has/VBZ [VP grown/VBN [PP since/IN [NP <month>]]]] ./.",
            "[NP Food/NN prices/NNS] [VP rose/VBD [ADVP sharply/RB] [NP this/DT year/NN]] ./.",
        ),
    ),
    "storm": EnglishTopic(
        places=("Hill/NNP Street/NNP", "the/DT western/JJ suburb/NN", "the/DT school/NN yard/NN", "Willow/NNP Road/NNP", "the/DT lower/JJ village/NN"),
        offices=("the/DT weather/NN service/NN", "the/DT fire/NN brigade/NN", "the/DT power/NN company/NN"),
        keyphrases=("heavy/JJ rain/NN", "the/DT power/NN cut/NN", "storm/NN damage/NN", "the/DT flood/NN warning/NN", "strong/JJ wind/NN", "insurance/NN claims/NNS"),
        event_nouns=("Flood/NNP Fund/NNP", "Storm/NNP Appeal/NNP", "Relief/NNP Concert/NNP", "Rebuild/NNP Campaign/NNP"),
        occasions=(
            ("heavy rain", "[SBAR after/IN [S [NP heavy/JJ rain/NN] [VP hit/VBD [NP the/DT valley/NN]]]]"),
            ("the night storm", "[SBAR when/WRB [S [NP the/DT storm/NN] [VP passed/VBD]]]"),
            ("a power cut", "[PP during/IN [NP a/DT long/JJ power/NN cut/NN]]"),
            ("the flood alarm", "[SBAR as/IN [S [NP the/DT river/NN] [VP rose/VBD]]]"),
        ),
        outcomes=(
            ("[NP Cellars/NNS] [VP filled/VBD [PP within/IN [NP <num> hours/NNS]]] ./.", "[NP cellars/NNS] [VP were/VBD [PP under/IN [NP water/NN]] [PP after/IN [NP <num> hours/NNS]]]"),
            ("[NP The/DT brigade/NN] [VP drove/VBD [PRT out/RP] [NP <num> times/NNS]] ./.", "[NP firefighters/NNS] [VP answered/VBD [NP <num> calls/NNS]]"),
            ("[NP Schools/NNS] [VP stayed/VBD [ADJP closed/JJ] [PP for/IN [NP <num> days/NNS]]] ./.", "[NP pupils/NNS] [VP had/VBD [NP <num> days/NNS] [PP off/IN [NP school/NN]]]"),
        ),
        details=(
            "[NP Gusts/NNS] [VP tore/VBD [NP tiles/NNS] [PP from/IN [NP several/JJ roofs/NNS]]] ./.",
            "[NP Neighbours/NNS] [VP swept/VBD [NP the/DT broken/JJ glass/NN] [ADVP together/RB]] ./.",
            "[NP <office>] [VP expects/VBZ [NP calmer/JJR days/NNS] [PP in/IN [NP <month>]]] ./.",
            "[NP The/DT school/NN kitchen/NN] [VP served/VBD [NP hot/JJ soup/NN]] ./.",
            "[NP Residents/NNS] [VP complained/VBD [PP about/IN [NP <kp>]]] ./.",
            "[NP The/DT cables/NNS] [VP will/MD [VP be/VB [VP buried/VBN [NP next/JJ year/NN]]]] ./.",
            "[NP Insurers/NNS] [VP opened/VBD [NP a/DT telephone/NN line/NN]] ./.",
        ),
    ),
    "football": EnglishTopic(
        places=("the/DT city/NN stadium/NN", "the/DT training/NN ground/NN", "Victoria/NNP Park/NNP Arena/NNP", "the/DT north/NN stand/NN", "the/DT club/NN museum/NN"),
        offices=("the/DT football/NN club/NN", "the/DT league/NN", "the/DT team/NN manager/NN"),
        keyphrases=("the/DT cup/NN final/NN", "the/DT penalty/NN kick/NN", "season/NN tickets/NNS", "the/DT youth/NN team/NN", "the/DT away/JJ match/NN", "the/DT injury/NN list/NN"),
        event_nouns=("Cup/NNP", "Youth/NNP League/NNP", "Derby/NNP", "Champions/NNPS Match/NNP"),
        occasions=(
            ("the derby", "[SBAR before/IN [S [NP the/DT derby/NN] [VP started/VBD]]]"),
            ("half time", "[PP at/IN [NP half/NN time/NN]]"),
            ("the final whistle", "[PP after/IN [NP the/DT final/JJ whistle/NN]]"),
            ("a late goal", "[SBAR when/WRB [S [NP the/DT home/NN team/NN] [VP scored/VBD]]]"),
        ),
        outcomes=(
            ("[NP The/DT match/NN] [VP was/VBD [VP stopped/VBN [PP for/IN [NP <num> minutes/NNS]]]] ./.", "[NP play/NN] [VP resumed/VBD [PP after/IN [NP <num> minutes/NNS]]]"),
            ("[NP The/DT hosts/NNS] [VP scored/VBD [NP <num> goals/NNS]] ./.", "[NP the/DT home/NN team/NN] [VP won/VBD [PP with/IN [NP <num> goals/NNS]]]"),
            ("[NP The/DT referee/NN] [VP showed/VBD [NP <num> yellow/JJ cards/NNS]] ./.", "[NP <num> players/NNS] [VP were/VBD [VP booked/VBN]]"),
        ),
        details=(
            "[NP Fans/NNS] [VP sang/VBD [PP until/IN [NP midnight/NN]]] ./.",
            "[NP The/DT goalkeeper/NN] [VP saved/VBD [NP <num> shots/NNS] [PP in/IN [NP the/DT first/JJ half/NN]]] ./.",
            "[NP <office>] [VP fined/VBD [NP the/DT visitors/NNS] [PP for/IN [NP a/DT late/JJ arrival/NN]]] ./.",
            "[NP [NP The/DT talk/NN] [PP of/IN [NP the/DT terraces/NNS]]] [VP was/VBD [NP <kp>]] ./.",
            "[NP The/DT grass/NN] [VP will/MD [VP be/VB [VP replaced/VBN [PP in/IN [NP <month>]]]]] ./.",
            "[NP The/DT striker/NN] [VP left/VBD [PP with/IN [NP a/DT sore/JJ knee/NN]]] ./.",
            "[NP A/DT replay/NN] [VP is/VBZ [VP planned/VBN [PP for/IN [NP <month>]]]] ./.",
        ),
    ),
}
