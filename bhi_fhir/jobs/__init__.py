"""The jobs that people and schedulers start: evaluate files, sync a month, show it all in a demo."""
