"""Constituency parsing with Stanza: training from a treebank, models in one safe file, bracket scores, flat trees."""
