"""MM-MKP: keyphrases of a post with a picture, by classification and generation joined (ACM MM 2023)."""
