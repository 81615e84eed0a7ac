"""What a wave of a job that is decided as a whole sends out."""
