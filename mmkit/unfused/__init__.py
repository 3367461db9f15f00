"""What encoders know of each other before anything is fused: retrieval, and classification by prompts."""
