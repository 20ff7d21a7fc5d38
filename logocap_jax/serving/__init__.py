"""A local page that shows what the model finds in a photograph, and why."""
