"""HCSCL: a summary in words and one picture, by hierarchical cross-modality semantic correlation (AAAI 2022)."""
