"""How fast the compiled programs are, and how much memory they need."""
