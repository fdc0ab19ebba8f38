"""From a clip and its words to vectors, and from a query to the same space.

protocol   what an encoder is, and what a model must have to become one
choose     from specs on a command line to an encoder
compose    several encoders as one, each for its own modalities
vectors    an encoder made of a model that needs no statistics
hf         models in the format of Hugging Face: vision-language, pictures, sounds, words
signal     the default encoder: no weights, no download
sound      raw descriptor of a sound (torch, torchaudio)
modulation how the bands of a sound move (torch)
resample   a sound at another rate (torch)
picture    raw descriptor of frames (torch)
text       raw descriptor of words (NumPy only)
projector  frozen statistics: raw descriptors to unit vectors (NumPy only)
heads      one linear head a modality: unit vectors to the joint space (NumPy only)
query      words, or vectors of any modality, to the joint space (NumPy only)
query_media  a picture, sound or video that somebody asks with, decoded in the child
tags       a vocabulary to scores, with the curves that make them probabilities (NumPy only)
fit_tags   these curves, from videos that carry tags
calibration  scores to probabilities
"""
