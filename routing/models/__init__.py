"""What a trained model is: what it sees of a prompt, what it says, and its file."""
