"""Speed, memory and communication of compiled programs."""
