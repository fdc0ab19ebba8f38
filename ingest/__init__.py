"""Media in; embeddings, quality columns, thumbnails and quarantine rows out.

In the order in which data passes them:

listing            a directory, glob or manifest to rows of (video_id, uri, what the manifest says)
increment          which of them are new, and what is known of the bytes of the others
probe              container, streams, rotation, edit list, limits: before memory is spent
editlist           does an MP4 show less than it holds?
decode             frames at uniform midpoints and native-rate sound: decord, then PyAV
wire               a job to a child process and a clip back, as bytes
isolation          the decoder in a child process with a deadline and a memory limit
quality            black, frozen, silent, clipped: columns, not filters
thumbnails         one frame as WebP, or a placeholder
describe           one video in a worker: decode, judge, picture, raw descriptors
encoders/protocol  what an encoder is
encoders/signal    the default encoder: no weights, no download
encoders/text      raw descriptor of words
commit             descriptors, embeddings, catalogue and quarantine, each written once
pipeline           all of the above in order, on Ray
align              modalities into one space
fuse               one joint vector a video, mask and agreement
space              a space version from an encoder version: align, fuse, write
encoders/query     a text query to the joint space
"""
