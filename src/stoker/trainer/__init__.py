"""What runs inside the trainer's process: the hook that reports, and our own trainer. The only home of torch."""
