"""Seeds shared out over processes of this host, or over a Ray cluster: one answer per seed."""
