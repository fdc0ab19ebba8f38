"""Hugging Face models as encoders, from safetensors only.

opening                 `open_hf`: from a path or a hub's name to an encoder
source                  the directory that a path or a name means
settings                JSON beside the weights, and the version made of all files
weights                 safetensors files, whole or refused
loading                 the network itself
families                what each supported architecture reads
image_models            ResNet, ViT, DINOv2
vision_language_models  CLIP, SigLIP
sound_models            CLAP, AST
text_models             BERT, MiniLM and their kin
encoder                 what `open_hf` gives: batches, means over frames and windows, unit vectors
batching                rows of many items, in batches of one size
picture_settings        how a model wants its pictures
pixels                  frames to a network's input
resample                pictures at another size, to the bit as Pillow does it
windows                 a sound to windows of a network's length and rate
clap_mel                windows to the input of CLAP
ast_fbank               windows to the input of AST
sounds                  sounds to a network's input
tokens                  texts to tokens
pooling                 tokens to one vector, as sentence-transformers stores it
texts                   texts to a network's input
"""

from ingest.encoders.hf.opening import open_hf

__all__ = ["open_hf"]
