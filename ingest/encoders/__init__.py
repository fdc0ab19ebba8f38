"""From a clip and its words to vectors, and from a query to the same space.

protocol   what an encoder is
signal     the default encoder: no weights, no download
sound      raw descriptor of a sound (torch, torchaudio)
resample   a sound at another rate (torch)
picture    raw descriptor of frames (torch)
text       raw descriptor of words (NumPy only)
projector  frozen statistics: raw descriptors to unit vectors (NumPy only)
heads      one linear head a modality: unit vectors to the joint space (NumPy only)
query      a text query to the joint space (NumPy only)
"""
