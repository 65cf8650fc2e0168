"""The oracle: a privileged expert that reads the twin's true state, for judging everything else."""
