"""Media in; embeddings, quality columns, thumbnails and quarantine rows out.

In the order in which data passes them:

pipeline           all that follows up to `commit`, in order, on Ray
listing            a directory, glob or manifest to rows of (video_id, uri, what the manifest says)
increment          which of them are new, by size and time, else by the hash of their bytes
describe           one video in a worker: decode, judge, picture, raw descriptors
isolation          the decoder in a child process, watched by its worker
wire               a job to the child and a clip back, as bytes
decoder_child      what runs in the child, under limits
decode             frames at uniform midpoints and native-rate sound: the ladder of both rungs
probe              container, streams, limits: before memory is spent
movie_header       what MP4 and MOV say of edit lists and rotation
decord_rung        first rung
pyav_rung          second rung: past damaged packets, through edit lists
pictures           sizes, instants and the poster, the same for both rungs
quality            black, frozen, silent, clipped: columns, not filters
thumbnails         one frame as WebP, or a placeholder
encoders/protocol  what an encoder is
encoders/signal    the default encoder: no weights, no download
encoders/text      raw descriptor of words
descriptors        what workers found, by content, shard by shard; refusals to quarantine
commit             raw descriptors to embeddings, thumbnails and catalogue, each row written once
align              modalities into one space
fuse               one joint vector a video, mask and agreement
space              a space version from an encoder version: align, fuse, write
encoders/query     a text query to the joint space
"""
