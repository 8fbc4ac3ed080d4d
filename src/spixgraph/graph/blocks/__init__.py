"""The compiled work on one barrier block: superpixels, node features, contacts, pixel maps.

One code for images, stacks and volumes, in memory and streamed. `plan` holds all that a block
needs to know of its image; `describe` makes a `BlockGraph`; `pixel_maps` shows the decoder the
same filters pixel by pixel.
"""
