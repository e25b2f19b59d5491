"""Models: UNet16 and the shared-space network with randomized skip connections."""
