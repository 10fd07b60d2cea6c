"""Pictures of a run, drawn from arrays and from the files in its folder."""
