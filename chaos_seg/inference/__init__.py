"""From a CT scan and trained models to a mask: predictor, alarms and formats. Never a label."""
