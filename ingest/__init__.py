"""Media in; embeddings, media and quality columns, near-duplicates, thumbnails and quarantine rows out.

In the order in which data passes them:

pipeline         all that follows up to `commit` and `likeness`, in order
source/          what there is to ingest, and its bytes; local or at a URL
increment        which files have to be opened, and which contents are settled
known_files      which content a file held when it was last opened
journal          what is being read right now, for the run after one that was killed
claims           which contents still have to be described: each once
crew             Ray, how many workers, and what a worker does
pool             work for them; those that die are replaced
describe         one video in a worker: fetch, decode, judge, picture, raw descriptors
read_clip        a file to a clip: in the child, or with frames from the worker's own GPU
devices          whether there is a GPU, and whether its video engine decodes
isolation        the decoder in a child process, watched by its worker
spawn            a child started with nearly nothing, read by a deadline, ended for good
wire             a job to the child and a clip back, as bytes
decoder_child    what runs in the child, under limits
sandbox          what the kernel denies it: network, programs, changes to files
media/           a file to frames and sound: probe, scan, sampling, the ladder of decoders
encoders/        clips and words to raw descriptors, and these to vectors
quality          black, frozen, blurred, silent, clipped: columns, not filters
thumbnails       one frame and a moving preview as WebP, or a placeholder
likeness/        fingerprints of picture and sound, and groups of near-duplicates
failures         why a file gave nothing, by class
descriptors      what workers found, by content, shard by shard; refusals to quarantine
commit           raw descriptors to embeddings, thumbnails and catalogue, each row written once
counts           what became of a run, and where the time went
align            modalities into one space
alignment/       what heads are trained on, how, and the verdict on them
fuse             one joint vector a video, mask and agreement
agree            how well sound and words fit the rest of a video, and which is the odd one
held_out         heads that have not met the videos they are asked about
space_inputs     one state of each table that a space is built from
space            a space version from an encoder version: align, fill in, fuse, judge, write
"""
