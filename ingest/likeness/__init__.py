"""What two files have in common although their bytes differ: re-uploads are found.

fingerprint      picture and sound of a clip in a few bytes; in the worker
picture_hash     a frame as 64 bits
sound_hash       an eighth of a second as 32 bits
prints           fingerprints of many clips in columns
candidates       pairs worth comparing: those that share part of a hash
hash_distance    how far two clips are apart
resemblance      which pairs are near-duplicates
duplicates       groups, each around one clip that all others resemble
near_duplicates  the groups of the whole catalogue, as a table
"""
