"""The networks of the public StyleID release, in its tensors' names, and the way from its files to a bundle."""
