"""The fits Diptych ships, by name; a module is imported when its fit is used."""

FITS: dict[str, str] = {
    "near_duplicates": "diptych.fits.near_duplicates:NearDuplicates",
    "near_duplicate_texts": "diptych.fits.near_duplicate_texts:NearDuplicateTexts",
    "splits": "diptych.fits.splits:Splits",
    "word_counts": "diptych.fits.word_counts:WordCounts",
    "vocabulary": "diptych.fits.vocabulary:Vocabulary",
    "vectors": "diptych.fits.word2vec_pretrained:Vectors",
    "word2vec": "diptych.fits.word2vec:Word2Vec",
}
