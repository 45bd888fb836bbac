"""CMI/SC: how much image and text share, and how well they agree (Henning and Ewerth, ICMR 2017)."""
