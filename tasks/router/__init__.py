"""What trained models say of a job: of its intents, of its candidates, and how they learn."""
