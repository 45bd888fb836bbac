"""A small Faster R-CNN with attribute head: network, training on boxes of the sample site or of COCO files, scores."""
