"""Pictures of cost and quality."""
