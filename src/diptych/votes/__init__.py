"""Human votes: what is asked (:mod:`kinds`), tasks for annotators (:mod:`tasks`), their answers (:mod:`answers`)."""
