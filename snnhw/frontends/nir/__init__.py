"""NIR files: ours and those that other frameworks wrote."""
