"""What there is to ingest, and its bytes; local or at a URL.

In the order in which data passes them:

listing          a directory, glob or manifest becomes one row a video
walk             files below a local directory or glob, with their stamps
manifest         rows of a table that names videos
remote_listing   folders, globs and manifests at URLs
locations        where a uri leads, and whether this source may read there
stamps           size, time, ETag: one state of a file from another without reading it
files            the bytes, hashed as they come; a remote file as a copy
remote           errors and facts of file systems at URLs, as ours
attempts         what may pass is tried again
"""
