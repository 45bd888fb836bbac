"""HM-LSTM: sentences and their noun phrases, images and their regions in one space."""
