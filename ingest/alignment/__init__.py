"""Heads that bring the modalities of one video together, trained on the catalogue itself.

In the order in which data passes them; `ingest.align` is the door:

settings         how heads are trained and judged
corpus           what they are trained on: vectors, near-duplicates, videos watched by the same people
start            heads in closed form, from which training begins
contrast         losses: one video's modalities, and videos watched together, against all others
train            steps of gradient descent from a start, tonight's or last night's
judge            what the same training finds among videos it has not seen, beside shuffled pairs
"""
