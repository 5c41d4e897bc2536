"""Cases: what the flows' feeds and queues say now of each case, kept in order on disk, so that a page that shows forty reads forty.

Nothing is read before somebody looks; then each feed is read on from where it was. No value of a person stands here: what a sample
would not show is not kept, and what one may look for is kept as a keyed hash.
"""
