"""The networks of the seeds in torch, and the recipes that train them."""
