"""Score: the SpaceNet metric, pixel IoU, and how sure we are of them."""
