"""A file to a clip: frames at chosen instants and the sound. Runs in the decoder child, without torch.

decode            what is taken, the ladder of decoders, and the clip
probe             container, streams, limits: before memory is spent
movie_header      what MP4 and MOV say of edit lists and rotation
matroska_header   what Matroska and WebM say of rotation
scan              one pass over the packets: when each frame is shown, and the sound
packets           a stream packet by packet, past damage
sampling          which frames: at midpoints, key frames near them, some of every shot
shots             cuts, dissolves and fades
miniatures        tiny pictures of a stretch of video, and how two differ
pyav_rung         first rung: only what the wanted frames need
decord_rung       second rung
nvdec_rung        frames from a GPU's video engine; in the worker, not in the child
sound_track       the sound, mono, at its native rate
painter           frames to RGB, scaled, upright
pictures          sizes, squares for encoders, the poster
"""
