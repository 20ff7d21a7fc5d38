"""Configs of training and evaluation; each file's docstring holds its command."""
