"""AnANet: is a picture explicitly, implicitly or not relevant to a text? Association and alignment net."""
