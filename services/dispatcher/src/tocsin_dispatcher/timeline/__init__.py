"""What happened to one notification, in order and in words that a support agent can read to its user.

entries.py  the story as it is stored ─► entries in order, each with its sentence
words.py    the sentences: plain English, nothing that only we understand
"""
