"""A live feed over HTTP: the subscriber comes to the mesh, follows a stream of events or takes changes and acknowledges them.

The stream reads the subscriber's topics itself, from whatever position it is asked for, and belongs to no group. What is taken and
acknowledged is its lane's: order per key, dead letters, lag and the committed offset are those of any other sink.
"""
