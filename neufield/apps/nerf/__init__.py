"""``neufield nerf``: photographs in, novel views out."""
