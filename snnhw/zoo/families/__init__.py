"""One file a family of networks: its kinds (`KINDS`, name -> constructor) and its `RECIPES`."""
