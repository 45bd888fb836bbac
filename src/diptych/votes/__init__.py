"""Human votes: questions (``kinds``), tasks for annotators (``tasks``), their answers (``answers``), ``agreement``."""
