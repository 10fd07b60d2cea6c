"""Tables, figures and pages of runs and scans, from what is written in folders. Never a prediction or a new score."""
