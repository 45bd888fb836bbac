"""A dataset whose rows have the sizes that the papers print, and no meaning: for measuring steps and reading."""
