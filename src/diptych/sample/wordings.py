# ruff: noqa: E501  (one sentence of the grammar a line)
"""English sentences that fit every topic, in the notation of trees.py; slots are filled by english.py."""

from __future__ import annotations

SHOPS = ("Luna Bakery", "Platform 4", "Open Daily", "Hotel Astra", "City Pharmacy", "No Parking", "Ticket Office", "Caffe Roma", "Exit 12",
         "Corner Bookshop", "Fresh Coffee", "Main Entrance", "Level 2", "Delta Bank", "Old Mill Inn", "Information", "Please Wait Here")  # fmt: skip

LEADS = (
    "<x> [VP was/VBD [VP seen/VBN [PP <rel>] [PP at/IN [NP <place>]] [PP on/IN [NP <day>]] <occasion>]] ./.",
    "[PP On/IN [NP <day>]] ,/, <x> [VP appeared/VBD [PP <rel>] [PP near/IN [NP <place>]] <occasion>] ./.",
    "[NP Pedestrians/NNS] [VP noticed/VBD <x_rel> [PP at/IN [NP <place>]] <occasion>] ./.",
    "<occasion> ,/, <x> [VP remained/VBD [PP <rel>] [PP at/IN [NP <place>]]] ./.",
    "[NP A/DT photographer/NN] [VP caught/VBD <x_rel> [PP on/IN [NP <day>]] <occasion>] ./.",
    "[NP Everyone/NN] [PP at/IN [NP <place>]] [VP looked/VBD [PP at/IN <x_rel>] <occasion>] ./.",
    "[NP There/EX] [VP was/VBD <x> [PP <rel>] [PP near/IN [NP <place>]] [PP on/IN [NP <day>]]] ./.",
)  # fmt: skip
BYSTANDERS = (
    "[PP Not/RB far/RB away/RB] ,/, <z> [VP completed/VBD [NP the/DT scene/NN]] ./.",
    "[NP The/DT picture/NN] [VP also/RB showed/VBD <z>] ./.",
    "<z> [VP could/MD [VP be/VB [VP seen/VBN [PP on/IN [NP the/DT other/JJ side/NN]]]]] ./.",
    "[PP At/IN [NP some/DT distance/NN]] ,/, [NP the/DT reporters/NNS] [VP counted/VBD <z>] ./.",
)
SUMMARIES = (
    "[S <x_rel> [VP drew/VBD [NP attention/NN] [PP near/IN [NP <place>]]]] ,/, and/CC [S <upshot>] ./.",
    "[PP At/IN [NP <place>]] ,/, [S <x> [VP was/VBD [VP found/VBN [PP <rel>]]]] ;/: [S <upshot>] ./.",
    "[S [NP <office>] [VP reported/VBD <x_rel> [PP on/IN [NP <day>]]]] ,/, and/CC [S <upshot>] ./.",
    "[S <x> [VP was/VBD [VP photographed/VBN [PP <rel>] [PP at/IN [NP <place>]]]]] ;/: [S <upshot>] ./.",
)
GENERIC = (
    "[NP Nobody/NN] [VP knew/VBD more/RBR [PP about/IN <xd>]] ./.",
    "“/`` [S [NP I/PRP] [VP have/VBP never/RB [VP seen/VBN [NP anything/NN] [PP like/IN [NP it/PRP]]]]] ,/, ”/'' [VP said/VBD] [NP <person>] ./.",
    "[NP <person>] [VP took/VBD [NP a/DT photograph/NN] [PP of/IN <xd>]] ./.",
    "[NP The/DT mayor/NN] [VP did/VBD not/RB [VP comment/VB [PP on/IN [NP the/DT matter/NN]]]] ./.",
    "[NP <person>] ,/, [NP a/DT neighbour/NN] ,/, [VP watched/VBD <yd> [PP for/IN [NP <num> minutes/NNS]]] ./.",
    "[NP <office>] [VP will/MD [VP publish/VB [NP a/DT report/NN] [PP in/IN [NP <month>]]]] ./.",
    "“/`` [S [NP We/PRP] [VP know/VBP [PP about/IN <xd>]]] ,/, ”/'' [NP <office>] [VP told/VBD [NP this/DT newspaper/NN]] ./.",
    "[NP Most/JJS readers/NNS] [VP agree/VBP [SBAR that/IN [S [NP <place>] [VP needs/VBZ [NP more/JJR care/NN]]]]] ./.",
    "[NP The/DT last/JJ comparable/JJ case/NN] [VP dates/VBZ [ADVP back/RB] [PP to/TO [NP <month>]]] ./.",
    "[PP By/IN [NP the/DT evening/NN]] ,/, [NP <place>] [VP was/VBD [ADJP quiet/JJ] again/RB] ./.",
    "[NP <person>] [VP thanked/VBD [NP the/DT helpers/NNS] [PP for/IN [NP their/PRP$ patience/NN]]] ./.",
    "[SBAR Because/IN [S [NP the/DT weather/NN] [VP was/VBD [ADJP fine/JJ]]]] ,/, [NP many/JJ families/NNS] [VP stayed/VBD] ./.",
    "[NP The/DT newspaper/NN] [VP received/VBD [NP [NP <num> letters/NNS] [PP about/IN <yd>]]] ./.",
    "[NP A/DT second/JJ meeting/NN] [VP is/VBZ [VP planned/VBN [PP at/IN [NP <place>]]]] ./.",
    "[NP <person>] [VP said/VBD [SBAR that/IN [S [NP the/DT children/NNS] [VP liked/VBD <xd>]]]] ./.",
    "[NP <office>] [VP called/VBD [NP it/PRP] [NP an/DT ordinary/JJ day/NN]] ./.",
)
TOPICAL = (
    "[NP [NP The/DT subject/NN] [PP of/IN [NP the/DT week/NN]]] [VP is/VBZ [NP <kp>]] ./.",
    "[NP <person>] [VP gave/VBD [NP an/DT interview/NN] [PP about/IN [NP <kp>]]] ./.",
    "[NP <office>] [VP answered/VBD [NP <num> questions/NNS] [PP about/IN [NP <kp>]]] ./.",
    "[NP Letters/NNS] [PP to/TO [NP the/DT editor/NN]] [VP often/RB mention/VBP [NP <kp>]] ./.",
)
BANNER = (
    "[NP [NP The/DT name/NN] [PP of/IN [NP the/DT event/NN]]] [VP stood/VBD [PP on/IN [NP a/DT large/JJ banner/NN]]] ./.",
    "[NP Organisers/NNS] [VP had/VBD [VP put/VBN [PRT up/RP] [NP a/DT banner/NN] [PP with/IN [NP the/DT title/NN]]]] ./.",
    "[NP The/DT event/NN] [VP was/VBD [VP announced/VBN [PP on/IN [NP a/DT wide/JJ poster/NN]]]] ./.",
)
DISTRACTORS = (
    "[NP [NP A/DT day/NN] earlier/RBR] ,/, [NP the/DT police/NN] [VP had/VBD [VP found/VBN <d> [PP in/IN [NP another/DT town/NN]]]] ./.",
    "[PP In/IN [NP other/JJ news/NN]] ,/, <d> [VP was/VBD [VP sold/VBN [PP for/IN [NP <num> thousand/CD euros/NNS]]]] ./.",
    "[NP A/DT museum/NN] [PP in/IN [NP the/DT capital/NN]] [VP bought/VBD <d> [NP last/JJ week/NN]] ./.",
)
TITLES = (
    "{xt} {rel} {yt} at {place}", "{xt} and {yt}: {occasion} at {place}", "{place}: {xt} seen on {day}", "After {occasion}: {xt} at {place}",
    "{office} reports on {occasion}", "What happened at {place} on {day}",
)  # fmt: skip
