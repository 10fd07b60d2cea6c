"""Where labelled scans come from, by name: a folder to patients and their slices. Never a store, split or tensor."""
